"""What is wrong with a checkpoint."""

from __future__ import annotations


class CheckpointError(UserError):
    """A checkpoint does not fit; the message names the file and the tensor."""
