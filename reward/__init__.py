"""Reward functions, one file each. Copy one, change it, and name it in a recipe."""
