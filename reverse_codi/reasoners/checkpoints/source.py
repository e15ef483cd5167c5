"""The source of a checkpoint and of its base: local folders and files, or the hub."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.recipe.reasoner import EMBEDDED, Source

ASSETS = Path(__file__).parents[1] / "embedded"

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".json", ".yaml")
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
    """A local path itself, or the files of a hub id that match patterns.

    Raises:
        CheckpointError: the path does not exist, and the hub does not have it or cannot be reached.
    """
    here = Path(path).expanduser()
    if here.exists():
        return here
    if _is_path(path):
        raise CheckpointError(
            f"{key} = {path!r} is missing: there is no such folder or file{_near(here)}; give one that is "
            "there, or a hub id (owner/name whose owner is no folder here)"
        )
    try:
        return Path(snapshot_download(path, revision=revision, allow_patterns=patterns))
    # Errors of huggingface_hub: no such id or revision, no right to read, offline, no connection.
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{key} = {path!r} is no folder here, and the hub gave: {error}; "
            "give an existing folder or a hub id"
        ) from error


def _is_path(path: str) -> bool:
    """Whether a missing source is meant as a path: not a hub id, a weight file, or in an existing folder."""
    return not _HUB_ID.fullmatch(path) or path.endswith(_WEIGHT_SUFFIXES) or Path(path).parent.is_dir()


def _near(path: Path) -> str:
    """The names beside a missing path, if there are any."""
    beside = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    return f"; did you mean {path.parent / near[0]}?" if near else ""
