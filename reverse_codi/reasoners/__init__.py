"""Latent reasoning models behind one protocol."""
