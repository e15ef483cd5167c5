"""Looking at reward functions and trying them without training: `python -m reverse_codi.rewards`."""
