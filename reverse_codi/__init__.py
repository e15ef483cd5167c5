"""Read the thoughts of latent reasoning models: CODI in reverse."""

__version__ = "0.1.0"
