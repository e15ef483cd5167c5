"""Figures of translations, one value for each row, so that the caller can resample by problem."""
