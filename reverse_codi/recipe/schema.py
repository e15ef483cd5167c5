"""A recipe: one YAML file an experiment, one section a stage; `--section.key value` lies over it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from reverse_codi.recipe.distill import DistillSection
from reverse_codi.recipe.find import recipe_file
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.reading import ReadingSection
from reverse_codi.recipe.reasoner import ReasonerSection
from reverse_codi.recipe.reward import RewardSection, beside
from reverse_codi.recipe.rollout import RolloutSection
from reverse_codi.recipe.run import LogSection, TrainSection
from reverse_codi.recipe.task import TaskSection
from reverse_codi.recipe.traces import TraceSection
from reverse_codi.recipe.verbalizer import VerbalizerSection, WarmStartSection
from reverse_codi.utils.config import RecipeError, Section, override, read_yaml, validated


class Recipe(Section):
    """All stages of one experiment."""

    task: TaskSection = TaskSection()
    """Questions."""
    reasoner: ReasonerSection = ReasonerSection()
    """The model that is read."""
    distill: DistillSection = DistillSection()
    """reverse-codi distill"""
    trace: TraceSection = TraceSection()
    """reverse-codi trace"""
    reading: ReadingSection = ReadingSection()
    """How texts are read."""
    verbalizer: VerbalizerSection = VerbalizerSection()
    """The policy."""
    warm_start: WarmStartSection = WarmStartSection()
    """Supervised fine-tuning."""
    rollout: RolloutSection = RolloutSection()
    """Actors that write."""
    reward: RewardSection = RewardSection()
    """Actors that read and score."""
    grpo: GrpoSection = GrpoSection()
    """Reinforcement learning."""
    train: TrainSection = TrainSection()
    """reverse-codi train"""
    log: LogSection = LogSection()
    """Logging."""

    @property
    def hash(self) -> str:
        """SHA-256 of the resolved recipe."""
        return _hash(self.model_dump(mode="json"))

    @property
    def trace_hash(self) -> str:
        """SHA-256 of what decides the traces; a change of learning rate must not refuse finished ones."""
        values = self.model_dump(mode="json", include={"task", "reasoner", "trace"})
        del values["trace"]["on_bad_question"]  # a store says itself how many traces it has
        return _hash(values)

    @property
    def asked_hash(self) -> str:
        """SHA-256 of who is asked what kind of questions, however many."""
        return _hash(self.model_dump(mode="json", include={"task", "reasoner"}))


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
    path = recipe_file(word)
    recipe = validated(Recipe, override(read_yaml(path), overrides), word)
    return recipe.model_copy(update={"reward": beside(recipe.reward, path.parent)})
