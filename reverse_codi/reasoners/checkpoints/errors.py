"""The error of a checkpoint that does not fit."""

from __future__ import annotations

from reverse_codi.errors import UserError


class CheckpointError(UserError):
    """A checkpoint does not fit; the message names the file and the tensor."""
