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
    """A weight that moves in a straight line and then stays."""

    to: Finite
    """Final weight."""
    steps: int = Field(ge=1)
    """Optimizer steps from the first weight to the final one."""
    after: int = Field(default=0, ge=0)
    """Optimizer steps before the weight begins to move."""


class Gate(Section):
    """A condition: one reward counts only where another exceeds a value."""

    by: str
    """Name of the other reward, as in the metrics."""
    above: Finite
    """Value that the other reward must exceed."""


class Over(StrEnum):
    """Over which texts a reward is scaled to mean 0 and standard deviation 1 before it is weighed."""

    NOTHING = "none"
    """No scaling."""
    GROUP = "group"
    """Over the texts of one thought."""
    STEP = "step"
    """Over all texts of a step."""


class Shape(StrEnum):
    """What counts of a text's reward in GRPO."""

    VALUE = "value"
    """The reward itself."""
    RANK = "rank"
    """Its rank among the texts of the thought, from -1 to 1; equal rewards share a rank."""


class RewardItem(Section):
    """One reward function of a recipe."""

    name: Named
    """A built-in name, an entry point, module:function, or ./path.py:function (beside the recipe or in the
    working directory); in Python also the function itself. A name alone may stand for the item."""
    weight: Finite = 1.0
    """Factor of this reward in the sum."""
    schedule: Schedule | None = None
    """How the weight changes; by default it stays."""
    gate: Gate | None = None
    """Condition on another reward. Where it fails, this reward takes its worst value, so that no text gains
    by failing."""
    normalize: Over = Over.NOTHING
    """Scale to mean 0 and standard deviation 1 over the texts of a thought (group) or of a step, after the
    gate and before the weight; none does not scale."""
    timeout_s: float | None = Field(default=None, gt=0)
    """Seconds that the function may take for one actor's share of a step; by default a quarter of the
    section's. After that, finding the row that hangs takes up to twice as long."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the function: fields of its own config."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) or callable(given) else given

    @property
    def written(self) -> str:
        """The name as a recipe file has it."""
        return _written(self.name)

    def weight_at(self, step: int) -> float:
        """The weight after `step` optimizer steps.

        >>> RewardItem(name="brevity", weight=1.0, schedule=Schedule(to=0.0, steps=4, after=2)).weight_at(3)
        0.75
        """
        if self.schedule is None:
            return self.weight
        done = min(max(step - self.schedule.after, 0) / self.schedule.steps, 1.0)
        return self.weight + done * (self.schedule.to - self.weight)


class RewardSection(Section):
    """The reward: which functions, how they are combined, on how many actors they run."""

    functions: list[RewardItem] = Field(default=[RewardItem(name="hidden_match")], min_length=1)
    """Reward functions; a text's reward is their weighted sum."""
    aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = "sum_then_normalize"
    """sum_then_normalize: sum the rewards, then scale as grpo.scale_rewards says (GRPO). normalize_then_sum:
    scale each reward over its group, then the sum over the batch (GDPO, arXiv 2601.05242); ignores
    scale_rewards."""
    shape: Shape = Shape.VALUE
    """What counts of the sum in GRPO: its value, or its rank among the texts of a thought. A rank lets no
    outlier decide a group."""
    actors: int = Field(default=1, ge=1)
    """Number of Ray actors that read and score."""
    cpus_per_actor: float = Field(default=1.0, ge=0)
    """CPUs, and therefore threads, of each actor."""
    gpus_per_actor: float = Field(default=0.0, ge=0)
    """GPUs of each actor; if above 0, the reader runs on the GPU."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Seconds that an actor may take for its share of a step. One that does not even say what it does then is
    killed and replaced, and asked once more."""


def beside(section: RewardSection, folder: Path) -> RewardSection:
    """Name reward files in the recipe's folder by their path from the working directory.

    The path is relative where it can be, because a Ray job's actors run in copies of the working directory.
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
