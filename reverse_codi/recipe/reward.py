"""Rewards in a recipe: which functions, how each counts, and where they run."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, WithJsonSchema, model_validator

from reverse_codi.utils.config import Section
from reverse_codi.utils.user_code import name_of


def _written(name: str | Callable[..., Any]) -> str:
    return name if isinstance(name, str) else name_of(name)


# A function stands in files as a recipe would name it, so that what was trained with can be read there.
Named = Annotated[
    str | Callable[..., Any], PlainSerializer(_written, when_used="json"), WithJsonSchema({"type": "string"})
]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Schedule(Section):
    """How a weight moves, in a straight line, and then stays."""

    to: Finite
    """Weight at last."""
    steps: int = Field(ge=1)
    """Optimizer steps that the way takes."""
    after: int = Field(default=0, ge=0)
    """Optimizer steps before it begins."""


class Gate(Section):
    """One reward counts only where another passes."""

    by: str
    """Name of the reward that must pass, as metrics call it."""
    above: Finite
    """What its value must exceed."""


class Over(StrEnum):
    """Over which rows a reward is brought to mean 0 and spread 1 before it is weighed."""

    NOTHING = "none"
    """It stays as it is."""
    GROUP = "group"
    """The texts of one thought."""
    STEP = "step"
    """All texts of a step."""


class RewardItem(Section):
    """One reward function of a recipe."""

    name: Named
    """A name from reward/, an entry point, module:function, or ./path.py:function beside the recipe or in the
    working directory; in Python also the function itself. Alone it may stand for the item."""
    weight: Finite = 1.0
    """Factor in the sum."""
    schedule: Schedule | None = None
    """Where the weight goes from there, if it is to change."""
    gate: Gate | None = None
    """Where the gate is closed the reward is its `worst`, so that no text gains by closing it."""
    normalize: Over = Over.NOTHING
    """none, group or step: bring it to mean 0 and spread 1, after the gate and before the weight."""
    timeout_s: float | None = Field(default=None, gt=0)
    """Seconds that it may take for an actor's share of a step; a quarter of the section's if not given. When
    they are over, finding the row that hangs takes up to twice as long."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Fields of the function's own config."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) or callable(given) else given

    @property
    def written(self) -> str:
        """The name as a recipe file has it."""
        return _written(self.name)

    def weight_at(self, step: int) -> float:
        """The weight after so many optimizer steps.

        >>> RewardItem(name="brevity", weight=1.0, schedule=Schedule(to=0.0, steps=4, after=2)).weight_at(3)
        0.75
        """
        if self.schedule is None:
            return self.weight
        done = min(max(step - self.schedule.after, 0) / self.schedule.steps, 1.0)
        return self.weight + done * (self.schedule.to - self.weight)


class RewardSection(Section):
    """Scoring: which reward functions, how they are combined, on how many actors."""

    functions: list[RewardItem] = Field(default=[RewardItem(name="hidden_match")], min_length=1)
    """Reward functions; a text's reward is their weighted sum."""
    aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = "sum_then_normalize"
    """TRL's: sum, then advantages as grpo.scale_rewards says; or each reward over its group first and the
    sum over the batch (GDPO, arXiv 2601.05242), where scale_rewards does not count."""
    actors: int = Field(default=1, ge=1)
    """Ray actors that read and score."""
    cpus_per_actor: float = Field(default=1.0, ge=0)
    """CPUs, and so threads, of each actor."""
    gpus_per_actor: float = Field(default=0.0, ge=0)
    """GPUs of each actor; above 0 the reader runs on the GPU."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Seconds that one step's scoring may take, an actor's restart included."""


def beside(section: RewardSection, folder: Path) -> RewardSection:
    """The section with files that lie in the recipe's folder named by their path from here.

    From here and not from the root of the machine where that can be: a Ray job's actors run in copies of the
    working directory.
    """

    def named(item: RewardItem) -> RewardItem:
        if not isinstance(item.name, str):
            return item
        place, colon, attribute = item.name.rpartition(":")
        path = (folder / place).resolve()
        if not (colon and place.endswith(".py") and path.is_file()):
            return item
        here = Path.cwd()
        shown = path.relative_to(here) if path.is_relative_to(here) else path
        return item.model_copy(update={"name": f"{shown}:{attribute}"})

    return section.model_copy(update={"functions": [named(item) for item in section.functions]})
