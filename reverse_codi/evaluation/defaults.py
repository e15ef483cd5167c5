"""What evaluations and studies ask by default; light, so that `--help` can name it before torch is loaded."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from reverse_codi.errors import RecipeError
from reverse_codi.utils.config import Section

AMONG = 64
"""How many thoughts a text is matched against, its own included."""

CONTROLS = (
    "gold",
    "empty",
    "constant",
    "question_restated",
    "final_answer",
    "question_solved",
    "logit_lens",
    "lens_search",
    "linear_probes",
    "nearest_text",
    "shuffled",
    "best_of_16",
    "warm_start",
    "warm_gold",
    "warm_nearest",
    "more_sft",
    "question_only",
    "oracle",
)
"""The controls of an evaluation; `evaluation.baselines` makes them."""
CONTROLS_ON_REQUEST = ("best_of_256",)
"""Ceilings that take minutes and are made only where they are asked for."""


def check_controls(names: Iterable[str]) -> None:
    """Refuse a control that does not exist.

    Raises:
        RecipeError: names it, and those that do.
    """
    known = (*CONTROLS, *CONTROLS_ON_REQUEST)
    if unknown := [name for name in names if name not in known]:
        raise RecipeError(f"no control is named {unknown[0]!r}; there are {', '.join(known)}")


TRIAL_PROBLEMS = 100
"""Problems that a reward is tried on."""
DESCENT_STEPS = 300
"""Steps of Adam that a soft text gets."""


class Size(Section):
    """The size of an evaluation set."""

    problems: int = Field(default=600, ge=16)
    """Number of fresh held-out problems. Their gold texts are what a text competes with in retrieval: of too
    few problems there is no such figure."""
    wrong: int = Field(default=200, gt=0)
    """Number of wrong traces."""
    pairs: int = Field(default=300, gt=0)
    """Number of minimal pairs."""
    retrieval: int | None = Field(default=None, gt=0)
    """Thoughts that retrieval is measured on, drawn at random; all if none. Each costs the reading of 64
    texts, which at a billion parameters is most of an evaluation."""
