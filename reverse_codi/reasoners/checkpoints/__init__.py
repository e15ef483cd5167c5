"""Checkpoints as their authors published them: recognised by their keys, accounted for tensor by tensor."""
