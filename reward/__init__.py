"""Reward functions, one file each. Copy one, change it, name it in a recipe; `registry` says how."""

from reverse_codi.rewards.declare import reward
from reverse_codi.rewards.registry import find

__all__ = ["find", "reward"]
