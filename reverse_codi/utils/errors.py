"""The error that every other of this package's errors of use derives from."""

from __future__ import annotations


class UserError(ValueError):
    """What the user can correct; the message names what is wrong, the value and what to do."""


TRAINING = ("ray", "trl", "wandb")
"""Packages of the extra `train`: translating takes none of them."""


class NotInstalledError(UserError):
    """A package of an extra is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"{package} is not installed; training takes it: pip install 'reverse_codi[train]'")


class UsageError(UserError):
    """A command line or a recipe is not valid as written; the command ends with status 2, not 1."""
