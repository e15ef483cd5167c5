"""Which latent reasoning model is read, and the facts that its checkpoint does not hold."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from reverse_codi.utils.config import Section

EMBEDDED = "embedded"


class LayoutName(StrEnum):
    """The layout of a checkpoint; `auto` recognises it from the file."""

    AUTO = "auto"
    OWN = "own"
    CODI = "codi"
    CODI_TOKENS = "codi-tokens"
    COCONUT = "coconut"
    HUGINN = "huginn"


class Source(Section):
    """Which checkpoint, and the facts that it does not hold."""

    path: str = EMBEDDED
    """A folder, a weight file, a hub id, or `embedded` for the reasoner inside the package."""
    layout: str = LayoutName.AUTO
    """Layout of the checkpoint: auto (recognised from its keys), own, codi, codi-tokens, coconut, huginn
    (recurrent depth), or a backend of another package."""
    base: str | None = None
    """Folder or hub id of the base model; only its configuration and tokenizer are read. Needed if the
    checkpoint lacks them."""
    revision: str | None = None
    """Commit, branch or tag of a hub id."""
    trust_remote_code: bool = False
    """Allow a backend to run Python code from the checkpoint; the built-in layouts never do."""
    reference_masking: bool = False
    """Let latent passes see left padding, as CODI's published code does. Answers then depend on the batch;
    use it only to reproduce published figures."""
    n_thoughts: int | None = Field(default=None, gt=0, le=64)
    """K, the number of thoughts, which a public checkpoint does not hold; empty takes it from the table of
    known checkpoints."""
    lora_alpha: float | None = Field(default=None, gt=0)
    """LoRA alpha, which a public checkpoint does not hold; empty takes it from the table of known
    checkpoints."""
    question_format: str | None = Field(default=None, pattern=r"\{question\}")
    """Format of a question, with {question} in it; empty means the layout's own."""
    answer_cue: str | None = None
    """What the model writes before its answer, "" if it writes the answer alone; by default the layout's
    own."""
    max_answer_tokens: int | None = Field(default=None, gt=0)
    """Longest answer, its cue included; empty means 32."""
    max_written_tokens: int | None = Field(default=None, gt=0)
    """Longest solution in CoT mode; empty means 256."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of merged weights; a folder in the own format keeps its type."""
    converted: str = "runs/reasoners"
    """Folder that keeps public checkpoints in the own format, once they are merged."""


class ReasonerSection(Source):
    """The latent reasoning model whose thoughts are translated."""

    device: str = "cpu"
    """Torch device of forward passes outside Ray actors."""

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU, whichever one."""
        return self.device.startswith("cuda")

    @model_serializer(mode="wrap")
    def _recorded(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Path, device, and what differs from its default, so that hashes of older recipes stay the same."""
        values: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        return {k: v for k, v in values.items() if k in ("path", "device") or v != fields[k].default}
