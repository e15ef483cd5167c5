"""A recipe: one YAML file an experiment, one section a stage; `--section.key value` lies over it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from reverse_codi.errors import RecipeError
from reverse_codi.recipe.distill import DistillSection
from reverse_codi.recipe.find import recipe_file
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.overrides import laid_over
from reverse_codi.recipe.placement import PlacementSection
from reverse_codi.recipe.reading import ReadingSection
from reverse_codi.recipe.reasoner import ReasonerSection
from reverse_codi.recipe.reinforce import ReinforceStage, Stage, stages_of
from reverse_codi.recipe.reward import RewardSection, beside
from reverse_codi.recipe.rollout import RolloutSection
from reverse_codi.recipe.run import LogSection, TrainSection
from reverse_codi.recipe.task import TaskSection
from reverse_codi.recipe.traces import TraceSection
from reverse_codi.recipe.verbalizer import VerbalizerSection, WarmStartSection
from reverse_codi.utils.config import Section, override, read_yaml, validated

RECIPE_FILE = "recipe.yaml"
"""The resolved recipe in a run's folder, and in the folder of the verbalizer that it made."""


WHERE: dict[str, set[str]] = {"reasoner": {"device"}, "trace": {"out", "batch_size"}}
"""Keys that say where traces are made and kept, and nothing about them."""


class Recipe(Section):
    """All stages of one experiment."""

    task: TaskSection = TaskSection()
    """Where questions come from."""
    reasoner: ReasonerSection = ReasonerSection()
    """The latent reasoning model whose thoughts are translated."""
    distill: DistillSection = DistillSection()
    """How a reasoner is trained (reverse-codi distill)."""
    trace: TraceSection = TraceSection()
    """How traces are collected (reverse-codi trace)."""
    reading: ReadingSection = ReadingSection()
    """How texts are read, and what the maps to thoughts are fitted on."""
    verbalizer: VerbalizerSection = VerbalizerSection()
    """The LoRA and the prompt of the verbalizer."""
    warm_start: WarmStartSection = WarmStartSection()
    """Supervised fine-tuning before reinforcement."""
    reinforce: list[ReinforceStage] = []
    """Stages of reinforcement after the warm start: `- search: {...}`, `- distil: {...}`, `- grpo: {...}`,
    in any order. Empty means GRPO alone, as the section grpo says."""
    rollout: RolloutSection = RolloutSection()
    """The actors that sample texts."""
    reward: RewardSection = RewardSection()
    """The reward, and the actors that read and score."""
    placement: PlacementSection = PlacementSection()
    """On which machines and GPUs of a cluster the actors are put."""
    grpo: GrpoSection = GrpoSection()
    """Reinforcement learning with GRPO, and the held-out evaluation of every stage."""
    train: TrainSection = TrainSection()
    """A training run as a whole (reverse-codi train)."""
    log: LogSection = LogSection()
    """Where figures go besides metrics.jsonl."""

    @classmethod
    def load(cls, path: str | Path, /, **overrides: Any) -> Recipe:
        """Read a recipe and lay other values over it.

        Args:
            path: a YAML file, or the name of a recipe that comes with the package ("tiny").
            overrides: sections as mappings, whose other keys stay as they are, or single keys with dots:
                `Recipe.load("tiny", grpo={"steps": 10}, **{"trace.n": 500})`.

        Raises:
            RecipeError: no such recipe, an unknown key (the nearest valid one is named), or a value out of
                range.
        """
        return _read(path, lambda values: laid_over(values, overrides))

    @model_validator(mode="after")
    def _stages_are_valid(self) -> Self:
        stages_of(self.reinforce, self.grpo)
        return self

    @property
    def stages(self) -> list[Stage]:
        """The stages of reinforcement, in order; none where there is no reinforcement."""
        return stages_of(self.reinforce, self.grpo)

    @property
    def grpo_sections(self) -> list[GrpoSection]:
        """The section `grpo` as it is in each GRPO stage."""
        sections = (stage.section for stage in self.stages)
        return [section for section in sections if isinstance(section, GrpoSection)]

    @property
    def trace_hash(self) -> str:
        """SHA-256 of what decides the traces.

        Other keys do not invalidate finished traces: neither the folder or device, as traces may be made on a
        GPU and moved, nor the treatment of bad questions, as a store says itself how many traces it has.
        """
        other = WHERE["trace"] | {"on_bad_question"}
        return _hash({**self._asked, "trace": self.trace.model_dump(mode="json", exclude=other)})

    @property
    def needs_self_generated_cot(self) -> bool:
        """Whether maps or warm start are made from the model's self-generated CoT."""
        return self.reading.fit_on == "written" or self.warm_start.kind in ("written", "nearest")

    @property
    def asked_hash(self) -> str:
        """SHA-256 of the task and the reasoner, whatever the number of questions."""
        return _hash(self._asked)

    @property
    def _asked(self) -> dict[str, Any]:
        """Who is asked what, wherever it runs."""
        reasoner = self.reasoner.model_dump(mode="json", exclude=WHERE["reasoner"])
        return {"task": self.task.model_dump(mode="json"), "reasoner": reasoner}


def _hash(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def load_recipe(arguments: Sequence[str]) -> Recipe:
    """Read `RECIPE [--section.key value ...]`; RECIPE is a file or a name, see `recipe_file`.

    Raises:
        RecipeError: no file, an unknown key (the nearest valid one is named), a value out of range.
    """
    if not arguments or arguments[0].startswith("--"):
        raise RecipeError("no recipe given; write a file or a name first, e.g. tiny")
    word, *overrides = arguments
    return _read(word, lambda values: override(values, overrides))


def _read(word: str | Path, changed: Callable[[dict[str, Any]], dict[str, Any]]) -> Recipe:
    """The recipe of a file, its values changed before they are checked."""
    file = recipe_file(word)
    recipe = validated(Recipe, changed(read_yaml(file)), str(word))
    return recipe.model_copy(update={"reward": beside(recipe.reward, file.parent)})


def recipe_beside(folder: Path) -> dict[str, Any]:
    """The values of the recipe in a verbalizer's or a run's folder, or in the one above; {} without one."""
    files = (place / RECIPE_FILE for place in (folder, folder.parent))
    return next((read_yaml(file) for file in files if file.is_file()), {})
