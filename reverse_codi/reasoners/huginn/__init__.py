"""Huginn: reasoning by recurrent depth (Geiping et al. 2025, arXiv 2502.05171)."""
