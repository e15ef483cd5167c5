"""Which latent reasoning model is read, and what its checkpoint does not say of itself."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from reverse_codi.utils.config import Section

EMBEDDED = "embedded"


class LayoutName(StrEnum):
    """How a checkpoint is laid out; `auto` asks the file."""

    AUTO = "auto"
    OWN = "own"
    CODI = "codi"
    CODI_TOKENS = "codi-tokens"
    COCONUT = "coconut"
    HUGINN = "huginn"


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


class ReasonerSection(Source):
    """Which latent reasoning model is read."""

    device: str = "cpu"
    """Torch device of forward passes outside Ray actors."""

    @model_serializer(mode="wrap")
    def _recorded(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Path, device and what differs from its default: hashes of recipes without the rest stay."""
        values: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        return {k: v for k, v in values.items() if k in ("path", "device") or v != fields[k].default}
