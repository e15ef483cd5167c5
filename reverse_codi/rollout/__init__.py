"""Sampling texts: engines behind one protocol, and the Ray pool that holds them."""
