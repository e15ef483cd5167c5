"""Thoughts in, texts out: the verbalizer, its warm start, and translations."""
