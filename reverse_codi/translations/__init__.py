"""Thoughts in words: what is translated, the rows that come out, and whether each may be believed."""
