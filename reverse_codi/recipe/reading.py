"""How a text is read; every score depends on this choice (docs/architecture.md)."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from reverse_codi.errors import UserError
from reverse_codi.utils.config import Section

LAYERS = r"^(all|final|\d+(,\d+)*)$"
"""Pattern of the key `layers`."""


class Prefix(StrEnum):
    """What the frozen model reads before the text."""

    NONE = "none"
    QUESTION = "question"


class Point(StrEnum):
    """At which tokens of the text the states are taken."""

    LAST = "last"
    """The last token."""
    BEFORE_RESULT = "before_result"
    """The token before the last number, whose state predicts it."""
    MEAN = "mean"
    """The mean over the text's tokens."""
    NUMBERS = "numbers"
    """From the first number to the last: the states at both ends, the mean of the numbers and the mean of all
    between. Words around them count only through attention. A text without numbers is taken whole."""


class Map(StrEnum):
    """How the states of a text become a predicted thought."""

    IDENTITY = "identity"
    AFFINE = "affine"


class Target(StrEnum):
    """What a text must reproduce: each thought, or the state at the answer cue."""

    THOUGHT = "thought"
    ANSWER = "answer"


class ReadSpec(Section):
    """One way to read a text."""

    prefix: Prefix = Prefix.NONE
    """What the model reads before the text: none, or the question."""
    suffix: str = ""
    """Literal text that is appended before the states are taken."""
    point: Point = Point.NUMBERS
    """Tokens whose states are taken: last, before_result, mean or numbers (first number to last)."""
    layers: str = Field(default="all", pattern=LAYERS)
    """Layers whose states are taken: final, all, or numbers joined by commas (0 is the embeddings)."""
    map: Map = Map.AFFINE
    """Map from the states to the predicted thought: affine (ridge regression) or identity."""
    ridge: float | Literal["auto"] = 0.1
    """Ridge strength of the affine map, relative to 1e-3 times one standardized feature's mean square. auto
    chooses it for each site by leave-one-out error, which pays where there are fewer than some four traces a
    feature."""
    target: Target = Target.THOUGHT
    """What a text must reproduce: thought, or answer (one text for the whole trace, read at the answer
    cue)."""

    @field_validator("ridge")
    @classmethod
    def _positive(cls, ridge: float | Literal["auto"]) -> float | Literal["auto"]:
        if ridge != "auto" and not ridge > 0:
            raise ValueError("input should be greater than 0, or auto")
        return ridge

    @model_validator(mode="after")
    def _identity_compares_one_state(self) -> Self:
        if self.map is Map.IDENTITY and (self.point is Point.NUMBERS or self.layers == "all"):
            raise ValueError(
                f"map identity compares one state with the thought; point {self.point}, layers {self.layers} "
                "give several: set point: last and layers: final"
            )
        return self

    def layer_indices(self, n_layers: int) -> list[int]:
        """Indices into the L + 1 = `n_layers` hidden layers.

        Raises:
            UserError: the model has no such layer.
        """
        if self.layers == "final":
            return [n_layers - 1]
        if self.layers == "all":
            return list(range(n_layers))
        chosen = [int(part) for part in self.layers.split(",")]
        if not all(0 <= layer < n_layers for layer in chosen):
            raise UserError(f"layers {self.layers!r}: this model has 0 to {n_layers - 1}; name of those")
        return chosen

    def __str__(self) -> str:
        """The short form in tables."""
        suffix = f"+{self.suffix!r}" if self.suffix else ""
        return f"{self.prefix}{suffix} {self.point} {self.layers} {self.map}"


# Share of the training texts of a map that are put among random words; see `reading.wording`.
FRAMED = 0.65
# Memory that fitting a map may take.
MEMORY_GIB = 4.0


class ReadingSection(Section):
    """How texts are read, and what the maps to thoughts are fitted on."""

    spec: ReadSpec = ReadSpec()
    """Which states of a text are read; the default was best in `reverse-codi reading-study`."""
    fit_on: Literal["written", "gold", "lens"] = "written"
    """Claims that probes and maps are fitted on: written (the model's self-generated CoT, no labels), lens
    (what lens search says of each thought: no labels and no CoT mode) or gold."""
    traces: int = Field(default=30_000, ge=0)
    """Number of training traces that probes and maps are fitted on; 0 means all."""
    framed: float = Field(default=FRAMED, ge=0, le=1)
    """Share of the texts that are put among random words when maps are fitted, so that wording does not
    count."""
    disagreeing: int = Field(default=3, ge=1)
    """Only written: how often a trace counts whose thoughts and written steps give different answers. Such
    traces are rare, and only they separate what was thought from what is right."""
    encoded_threshold: float = Field(default=0.6, gt=0, le=1)
    """Probe accuracy from which a site encodes a step, for tasks that make no minimal pairs."""
    memory_gib: float = Field(default=MEMORY_GIB, gt=0)
    """GiB that fitting one map may hold. Where a model's states are too wide for it, they are projected on
    their principal directions first, as many for each layer as fit."""
