"""Where a checkpoint and its base come from: local folders and files, or the hub."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Literal

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from pydantic import Field

from reverse_codi.config import Section
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.layouts import LayoutName

EMBEDDED = "embedded"
ASSETS = Path(__file__).parents[2] / "assets" / "tiny"

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".json", ".yaml")
_DESCRIPTION = ["*.json", "*.model", "vocab.txt", "merges.txt"]
_WEIGHTS = ["*.safetensors", "*.bin", "*.pt", "*.pth", "checkpoint_*"]


class Source(Section):
    """Which checkpoint, and what it does not say of itself."""

    path: str = EMBEDDED
    """A folder or weight file, a hub id, or `embedded` for the reasoner that the package carries."""
    layout: str = LayoutName.AUTO
    """auto (recognised from its keys), own, codi, codi-tokens, coconut, huginn (recurrent depth), or a
    backend of another package."""
    base: str | None = None
    """Folder or hub id of the base model, of which only configuration and tokenizer are read; needed where
    the checkpoint lacks them."""
    revision: str | None = None
    """Commit, branch or tag of a hub id."""
    trust_remote_code: bool = False
    """Let a backend run Python that comes with the checkpoint; the layouts named above never do."""
    reference_masking: bool = False
    """Reproduce the published CODI code, whose latent passes see left padding: answers then depend on the
    batch. Only to reproduce its figures."""
    n_thoughts: int | None = Field(default=None, gt=0, le=64)
    """K, which a public checkpoint does not hold; what `checkpoints/known.py` knows of it if empty."""
    lora_alpha: float | None = Field(default=None, gt=0)
    """The LoRA's alpha, which a public checkpoint does not hold; what is known of it if empty."""
    question_format: str | None = Field(default=None, pattern=r"\{question\}")
    """How a question is put, with {question} in it; the layout's own if empty."""
    answer_cue: str | None = None
    """What the model writes before its answer, "" where it writes the answer alone; the layout's own if not
    given."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of merged weights; the own format keeps its own."""
    converted: str = "runs/reasoners"
    """Where public checkpoints are kept in the own format, once merged."""


def located(source: Source) -> Path:
    """The local folder or file of a checkpoint; one on the hub is fetched.

    Raises:
        CheckpointError: it is neither here nor on the hub.
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
    """A local path as it is, or the files of a hub id that match patterns.

    Raises:
        CheckpointError: there is no such path; the hub has no such thing, or cannot be reached.
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
    # What huggingface_hub raises for: no such id, revision or right to read; offline; no connection.
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{key} = {path!r} is no folder here, and the hub gave: {error}; "
            "give an existing folder or a hub id"
        ) from error


def _is_path(path: str) -> bool:
    """Whether what is not there is meant as a path: no hub id, a weight file, or in a folder that is here."""
    return not _HUB_ID.fullmatch(path) or path.endswith(_WEIGHT_SUFFIXES) or Path(path).parent.is_dir()


def _near(path: Path) -> str:
    """What stands beside a missing path, where something does."""
    beside = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    return f"; did you mean {path.parent / near[0]}?" if near else ""
