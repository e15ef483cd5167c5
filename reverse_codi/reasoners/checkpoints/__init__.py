"""Public checkpoints: recognised by their keys, with every tensor accounted for."""
