"""Figures of translations, one value a row, so that the caller resamples by problem."""
