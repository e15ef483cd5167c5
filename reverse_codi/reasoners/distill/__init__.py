"""Training a reasoner: first on written steps, then with CODI or Coconut."""
