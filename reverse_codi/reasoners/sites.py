"""Sites: the names of a trace's vectors, and the only place that numbers thoughts.

Public work disagrees by one. Here h0 is read at the begin-of-thought token, z0 = prj(h0) is the first latent
input, and h_k and z_k together are thought k. A model with recurrent depth (Huginn) has no chain of thoughts
but a state for every token and iteration: t5:16 is token 5's state after 16 passes of the recurrent block,
and t5:0 is its random start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

_FORM = re.compile(r"([hz])(\d+)(?:@(\d+))?|t(\d+):(\d+)|answer")


@dataclass(frozen=True, order=True)
class Site:
    """One vector, written `h2`, `z4`, `h2@12` (layer 12; the final one if absent), `t5:16` or `answer`.

    Attributes:
        kind: "h" a hidden state, "z" a latent input, "t" a token's recurrent state, "answer" the state at the
            answer cue, after all thoughts.
        index: k, or the token, from 0; 0 for the answer.
        layer: hidden layer of a hidden state, None for the final one (after the last norm).
        iteration: how often the recurrent block has run; only for "t".
    """

    kind: Literal["h", "z", "t", "answer"]
    index: int = 0
    layer: int | None = None
    iteration: int | None = None

    def __post_init__(self) -> None:
        """Refuse sites that no trace has."""
        if self.index < 0:
            raise ValueError(f"site index {self.index} is negative; thoughts are numbered from 0")
        if self.kind == "z" and self.layer is not None:
            raise ValueError(
                f"{self.kind}{self.index}@{self.layer}: a latent input has no layer; write z{self.index}"
            )
        if self.kind == "t" and (self.iteration is None or self.iteration < 0 or self.layer is not None):
            raise ValueError(
                f"t{self.index} with iteration {self.iteration} and layer {self.layer}: a recurrent state "
                f"has an iteration from 0 and no layer; write t{self.index}:16"
            )
        if self.kind != "t" and self.iteration is not None:
            raise ValueError(
                f"{self.kind}{self.index} with iteration {self.iteration}: only a recurrent state has "
                f"iterations; write t{self.index}:{self.iteration}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `h2`, `z4`, `h2@12`, `t5:16` or `answer`.

        Raises:
            ValueError: the text is of no such form.
        """
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is no site; write h2, z4, h2@12, t5:16 or answer")
        kind, index, layer, token, iteration = match.groups()
        if token is not None:
            return cls("t", int(token), iteration=int(iteration))
        if kind is None:
            return cls("answer")
        return cls("h" if kind == "h" else "z", int(index), None if layer is None else int(layer))

    def __str__(self) -> str:
        """The form that `parse` reads."""
        if self.kind == "answer":
            return self.kind
        if self.kind == "t":
            return f"t{self.index}:{self.iteration}"
        return f"{self.kind}{self.index}" + ("" if self.layer is None else f"@{self.layer}")


ANSWER = Site("answer")
