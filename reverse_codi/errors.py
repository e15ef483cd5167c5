"""The error that every other of this package's errors of use derives from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """What the user can correct; the message names what is wrong, the value and what to do."""


TRAINING = ("ray", "trl", "wandb")
"""Packages of the extra `train`: translating takes none of them."""

# Characters of a library's message that are repeated: some hold a whole file.
_REPEATED = 300


class NotInstalledError(UserError):
    """A package of an extra is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"{package} is not installed; training takes it: pip install 'reverse_codi[train]'")


class UsageError(UserError):
    """A command line or a recipe is not valid as written; the command ends with status 2, not 1."""


class RecipeError(UsageError):
    """A recipe cannot be used; the message names key, value and what to do."""


@contextmanager
def blamed_on(
    source: object, kind: type[UserError], fix: str, what: str = "cannot be used"
) -> Iterator[None]:
    """Turn whatever a library raises over a file of the user's into one line that names the file.

    A damaged file makes libraries raise errors of all kinds (KeyError, TypeError, RuntimeError). Only their
    calls belong into this block: our own code has errors that say more.

    Args:
        source: the file or folder.
        kind: of the error.
        fix: what to do, for the message.
        what: is wrong with it, for the message.

    Raises:
        UserError: of that kind.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        told = f"{said[:_REPEATED]} ..." if len(said) > _REPEATED else said
        raise kind(f"{source} {what} ({type(error).__name__}: {told}); {fix}") from error
