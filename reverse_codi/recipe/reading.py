"""How a text is read: the choice on which every score hangs (docs/architecture.md)."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from reverse_codi.utils.config import Section, UserError

LAYERS = r"^(all|final|\d+(,\d+)*)$"
"""How layers are written."""


class Prefix(StrEnum):
    """What the frozen model reads before the text."""

    NONE = "none"
    QUESTION = "question"


class Point(StrEnum):
    """Where in the text the state is taken."""

    LAST = "last"
    """The last token."""
    BEFORE_RESULT = "before_result"
    """The token before the last number, whose state predicts it."""
    MEAN = "mean"
    """The mean over the text's tokens."""
    NUMBERS = "numbers"
    """From the first number to the last: both ends, the mean of the numbers and the mean of all between. What
    stands around them is heard through attention only. A text without numbers is taken whole."""


class Map(StrEnum):
    """How a read state becomes a predicted thought."""

    IDENTITY = "identity"
    AFFINE = "affine"


class Target(StrEnum):
    """What a text must reproduce."""

    THOUGHT = "thought"
    ANSWER = "answer"


class ReadSpec(Section):
    """One way to read a text."""

    prefix: Prefix = Prefix.NONE
    """none or question."""
    suffix: str = ""
    """Literal appended before the state is taken."""
    point: Point = Point.NUMBERS
    """last, before_result, mean or numbers."""
    layers: str = Field(default="all", pattern=LAYERS)
    """final, all, or layer numbers joined by commas (0: embeddings)."""
    map: Map = Map.AFFINE
    """identity or affine."""
    ridge: float = Field(default=0.1, gt=0)
    """Ridge strength of the affine map, in units of one standardized feature's squared sum a row."""
    target: Target = Target.THOUGHT
    """thought or answer."""

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
        """Short form for tables."""
        suffix = f"+{self.suffix!r}" if self.suffix else ""
        return f"{self.prefix}{suffix} {self.point} {self.layers} {self.map}"


# Share of texts that maps are fitted on among random words; see `reading.wording`.
FRAMED = 0.65


class ReadingSection(Section):
    """How texts are read, and what the maps are fitted on."""

    spec: ReadSpec = ReadSpec()
    """The ReadSpec; its default is what scripts/reading_study found best."""
    fit_on: Literal["written", "gold"] = "written"
    """written (claims of the model's self-generated CoT, no labels) or gold (claims of the task)."""
    traces: int = Field(default=30_000, ge=0)
    """Training traces that probes and maps are fitted on, the first ones; 0 for all."""
    framed: float = Field(default=FRAMED, ge=0, le=1)
    """Share of texts that the maps are fitted on among random words, so that wording does not count."""
    disagreeing: int = Field(default=3, ge=1)
    """written: times that a trace counts whose thoughts and written steps give different answers. They are
    rare, and the only ones where thinking and solving part."""
    encoded_threshold: float = Field(default=0.6, gt=0, le=1)
    """Probe accuracy from which a site encodes a step, where the task makes no minimal pairs."""
