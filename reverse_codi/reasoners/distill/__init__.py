"""Training a reasoner: written steps first, then CODI or Coconut."""
