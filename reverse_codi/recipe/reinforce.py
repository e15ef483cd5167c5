"""The stages of reinforcement: search for texts, distil them into the verbalizer, GRPO; in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, PositiveInt, field_validator, model_validator

from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.utils.config import Section, validated


class SearchSection(Section):
    """Find texts for training thoughts, score them with the rewards, and keep the best ever found."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    source: Literal["policy", "lens"] = Field(default="policy", alias="from")
    """Who writes: policy (the verbalizer as it is, on the rollout actors) or lens (lens search, which needs
    no verbalizer, no label and no CoT mode)."""
    thoughts: int = Field(default=8192, ge=0)
    """Number of training thoughts that texts are sampled for in one search, drawn anew each time; 0 means
    all."""
    samples: int | list[int] = 8
    """Number of texts sampled for each thought; a list gives one number for each repetition of the entry."""
    temperature: float | list[float] = 1.0
    """Sampling temperature; a list gives one for each repetition of the entry."""
    shortlist: int = Field(default=4, ge=0)
    """Number of texts that the rewards score for each training thought: of all distinct texts found, in this
    search or a former one and for whichever thought, those whose predicted thoughts lie nearest. 0 scores a
    thought's own texts instead."""
    keep: int = Field(default=4, ge=1)
    """Number of best texts of each thought that the store keeps from one search."""
    seed: int = 0
    """Seed of the choice of thoughts and of sampling."""

    @field_validator("samples", "temperature")
    @classmethod
    def _above_0(cls, given: Any) -> Any:
        values = given if isinstance(given, list) else [given]
        if not values or not all(value > 0 for value in values):
            raise ValueError("give a number above 0, or a list of such numbers")
        return given

    def samples_in(self, round: int) -> int:
        """Texts a thought in round 1, 2, ...

        >>> SearchSection(samples=[24, 8]).samples_in(3)
        8
        """
        return int(_in_round(self.samples, round))

    def temperature_in(self, round: int) -> float:
        """Sampling temperature in round 1, 2, ..."""
        return float(_in_round(self.temperature, round))


def _in_round(value: float | list[int] | list[float], round: int) -> float:
    return value[min(round, len(value)) - 1] if isinstance(value, list) else value


class DistilSection(Section):
    """Teach the verbalizer the best texts found so far, by supervised fine-tuning."""

    steps: int = Field(default=600, gt=0)
    """Number of optimizer steps."""
    batch_size: int = Field(default=256, gt=0)
    """Thoughts in one optimizer step."""
    micro_batch: PositiveInt | Literal["auto"] = "auto"
    """Thoughts computed at once; the gradients of a step are added up, and the step is the same. auto: the
    whole batch if that takes 4 GiB at most, else as many as take 1 GiB; on a GPU what half of its free memory
    holds."""
    gradient_checkpointing: bool = False
    """Keep only each layer's input for the backward pass and compute the rest again: less memory, more time,
    the same step."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak learning rate, with cosine decay; optimizer and decay start anew in each stage."""
    word_dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of a target's tokens that are replaced at random while the next token is learned."""
    drop: float = Field(default=0.1, ge=0, lt=1)
    """Share of the thoughts that is left out: those whose best text has the lowest reward."""
    weight: Literal["none", "reward", "margin"] = "none"
    """How often a thought is shown: all alike (none), or by the rank of its best text's reward or of its lead
    over the thought's second-best text."""
    empty: float = Field(default=0.1, ge=0, lt=1)
    """Share of the examples that are thoughts which encode no step, with "(no step)"; fewer if there
    are none."""
    replay: float = Field(default=0.0, ge=0, lt=1)
    """Share of the examples that are pairs of the warm start."""
    start: Literal["last", "warm"] = "last"
    """Weights to start from: those of the stage before, or the warm start's."""
    eval_steps: int = Field(default=500, gt=0)
    """Optimizer steps between evaluations."""
    seed: int = 0
    """Seed of data order and dropout."""

    @model_validator(mode="after")
    def _some_are_found(self) -> Self:
        if self.empty + self.replay >= 1:
            raise ValueError(
                f"empty = {self.empty} and replay = {self.replay} leave no place for texts found"
            )
        return self


class ReinforceStage(Section):
    """One entry of `reinforce`: search, distil and grpo, those that are given, in this order."""

    times: int = Field(default=1, ge=1, le=1_000)
    """Number of times that the entry's stages are run."""
    search: SearchSection | None = None
    """Find texts and keep the best."""
    distil: DistilSection | None = None
    """Teach the best texts found so far."""
    grpo: dict[str, Any] | None = None
    """Keys of the section `grpo` that differ in this stage."""

    @model_validator(mode="after")
    def _some_stage(self) -> Self:
        if self.search is None and self.distil is None and self.grpo is None:
            raise ValueError("an entry of reinforce has no stage; give search: {}, distil: {} or grpo: {}")
        return self


StageSection = SearchSection | DistilSection | GrpoSection


@dataclass(frozen=True)
class Stage:
    """One stage of a run's reinforcement.

    Attributes:
        kind: search, distil or grpo.
        number: 1 for the first stage of the run.
        round: which repetition of its entry it belongs to, 1 for the first.
        section: its settings.
    """

    kind: Literal["search", "distil", "grpo"]
    number: int
    round: int
    section: StageSection

    @property
    def name(self) -> str:
        """Of its folder and in logs.

        >>> Stage("search", number=3, round=2, section=SearchSection()).name
        '03-search'
        """
        return f"{self.number:02d}-{self.kind}"

    @property
    def plan(self) -> str:
        """One line: what the stage does, and how much of it.

        >>> Stage("distil", 2, 1, DistilSection(steps=600)).plan
        '02-distil: 600 steps of 256 thoughts'
        """
        section = self.section
        if isinstance(section, GrpoSection):
            does = (
                f"{section.steps:,} steps of {section.thoughts_per_step} thoughts x {section.samples} texts"
            )
        elif isinstance(section, DistilSection):
            does = f"{section.steps:,} steps of {section.batch_size} thoughts"
        elif section.source == "lens":
            does = "lens search of all thoughts"
        else:
            of = f"{section.thoughts:,}" if section.thoughts else "all"
            temperature = section.temperature_in(self.round)
            does = f"{of} thoughts x {section.samples_in(self.round)} texts at temperature {temperature:g}"
        return f"{self.name}: {does}"

    def texts(self, thoughts: int) -> int:
        """Number of texts that the stage samples, where there are so many training thoughts.

        >>> Stage("search", 1, 1, SearchSection(thoughts=0, samples=3)).texts(100)
        300
        """
        section = self.section
        if isinstance(section, GrpoSection):
            return section.steps * section.thoughts_per_step * section.samples
        if isinstance(section, DistilSection) or section.source == "lens":
            return 0
        return min(section.thoughts or thoughts, thoughts) * section.samples_in(self.round)


def stages_of(entries: Sequence[ReinforceStage], grpo: GrpoSection) -> list[Stage]:
    """The stages in the order in which they run.

    Args:
        entries: of a recipe's `reinforce`. Without any, GRPO is the only stage, if it has steps.
        grpo: the recipe's section, which an entry's `grpo` lies over.

    Raises:
        RecipeError: a key of an entry's `grpo` is unknown, or its value is out of range.
    """
    if not entries and not grpo.steps:
        return []
    found: list[Stage] = []
    for entry in entries or [ReinforceStage(grpo={})]:
        sections: dict[Literal["search", "distil", "grpo"], StageSection | None] = {
            "search": entry.search,
            "distil": entry.distil,
            "grpo": None if entry.grpo is None else _laid_over(grpo, entry.grpo),
        }
        for round in range(1, entry.times + 1):
            for kind, section in sections.items():
                if section is not None:
                    found.append(Stage(kind, len(found) + 1, round, section))
    return found


def _laid_over(grpo: GrpoSection, keys: Mapping[str, Any]) -> GrpoSection:
    return validated(GrpoSection, {**grpo.model_dump(), **keys}, "grpo in reinforce")
