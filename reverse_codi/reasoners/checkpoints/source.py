"""The source of a checkpoint and of its base: local folders and files, or the hub."""

from __future__ import annotations

from pathlib import Path

from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.recipe.reasoner import EMBEDDED, Source
from reverse_codi.storage import hub

ASSETS = Path(__file__).parents[1] / "embedded"

_DESCRIPTION = ["*.json", "*.model", "vocab.txt", "merges.txt"]
_WEIGHTS = ["*.safetensors", "*.bin", "*.pt", "*.pth", "checkpoint_*"]


def located(source: Source) -> Path:
    """The local folder or file of a checkpoint, which is fetched if it is on the hub.

    Raises:
        CheckpointError: it exists neither locally nor on the hub.
    """
    if source.path == EMBEDDED:
        return ASSETS / "reasoner"
    code = ["*.py"] if source.trust_remote_code else []
    return fetched(source.path, source.revision, [*_WEIGHTS, *_DESCRIPTION, *code], "reasoner.path")


def located_base(source: Source) -> Path | None:
    """The folder that describes the base model; weights are never fetched."""
    if source.base is None:
        return None
    return fetched(source.base, None, _DESCRIPTION, "reasoner.base")


def fetched(path: str, revision: str | None, patterns: list[str], key: str) -> Path:
    """A local path itself, or the files of a hub id that match patterns; see `storage.hub.fetched`.

    Raises:
        CheckpointError: the path does not exist, and the hub does not have it or cannot be reached.
    """
    try:
        return hub.fetched(path, revision, patterns, key)
    except hub.HubError as error:
        raise CheckpointError(str(error)) from error.__cause__
