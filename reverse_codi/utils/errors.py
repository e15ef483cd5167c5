"""The error that every other of this package's errors of use derives from."""

from __future__ import annotations


class UserError(ValueError):
    """What the user can correct; the message names what is wrong, the value and what to do."""


class UsageError(UserError):
    """A command line or a recipe is not valid as written; the command ends with status 2, not 1."""
