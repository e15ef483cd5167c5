"""Which vector of a trace: the one place that numbers thoughts.

Public work disagrees by one. Here h0 is read at the begin-of-thought token, z0 = prj(h0) is the
first vector fed back, and h_k, z_k together are thought k.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

_FORM = re.compile(r"([hz])(\d+)(?:@(\d+))?|(answer)")


@dataclass(frozen=True, order=True)
class Site:
    """One vector of a trace, written `h2`, `z4`, `h2@12` (layer 12; the final one if absent) or `answer`.

    Attributes:
        kind: "h" a readout, "z" a fed vector, "answer" the state at the answer cue, after all thoughts.
        index: k, from 0; 0 for the answer.
        layer: hidden layer of a readout, None for the final one (after the last norm).
    """

    kind: Literal["h", "z", "answer"]
    index: int = 0
    layer: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no chain holds."""
        if self.index < 0:
            raise ValueError(f"site index {self.index} is negative; thoughts are numbered from 0")
        if self.kind == "z" and self.layer is not None:
            raise ValueError(
                f"{self.kind}{self.index}@{self.layer}: a fed vector has no layer; write z{self.index}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `h2`, `z4`, `h2@12` or `answer`.

        Raises:
            ValueError: the text is of no such form.
        """
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is no site; write h2, z4, h2@12 or answer")
        kind, index, layer, answer = match.groups()
        if answer:
            return cls("answer")
        return cls("h" if kind == "h" else "z", int(index), None if layer is None else int(layer))

    def __str__(self) -> str:
        """The form that `parse` reads."""
        if self.kind == "answer":
            return self.kind
        return f"{self.kind}{self.index}" + ("" if self.layer is None else f"@{self.layer}")


ANSWER = Site("answer")
