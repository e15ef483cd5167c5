"""Read the thoughts of latent reasoning models: CODI in reverse."""

from reverse_codi.environment import settle_home_and_say

__version__ = "0.1.0"

settle_home_and_say()  # before any module imports a library that looks for its cache
