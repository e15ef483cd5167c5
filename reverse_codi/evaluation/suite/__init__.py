"""The figures of one method, section by section (docs/evaluation.md defines each)."""
