"""The figures of one writer of texts, section by section (docs/evaluation.md defines each)."""
