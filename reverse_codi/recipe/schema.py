"""A recipe: one YAML file an experiment, one section a stage; `--section.key value` lies over it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reverse_codi.recipe.distill import DistillSection
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
    """Supervised fine-tuning before RL."""
    rollout: RolloutSection = RolloutSection()
    """The actors that sample texts."""
    reward: RewardSection = RewardSection()
    """The reward, and the actors that read and score."""
    grpo: GrpoSection = GrpoSection()
    """Reinforcement learning with GRPO."""
    train: TrainSection = TrainSection()
    """A training run as a whole (reverse-codi train)."""
    log: LogSection = LogSection()
    """Where figures go besides metrics.jsonl."""

    @property
    def hash(self) -> str:
        """SHA-256 of the resolved recipe."""
        return _hash(self.model_dump(mode="json"))

    @property
    def trace_hash(self) -> str:
        """SHA-256 of what decides the traces; other keys do not invalidate finished traces."""
        values = self.model_dump(mode="json", include={"task", "reasoner", "trace"})
        del values["trace"]["on_bad_question"]  # a store says itself how many traces it has
        return _hash(values)

    @property
    def asked_hash(self) -> str:
        """SHA-256 of the task and the reasoner, whatever the number of questions."""
        return _hash(self.model_dump(mode="json", include={"task", "reasoner"}))


def _hash(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def load_recipe(arguments: Sequence[str]) -> Recipe:
    """Read `RECIPE [--section.key value ...]`.

    Raises:
        RecipeError: no file, an unknown key (the nearest valid one is named), a value out of range.
    """
    if not arguments or arguments[0].startswith("--"):
        raise RecipeError("no recipe given; write a YAML file first, e.g. recipes/tiny.yaml")
    path, *overrides = arguments
    recipe = validated(Recipe, override(read_yaml(path), overrides), path)
    return recipe.model_copy(update={"reward": beside(recipe.reward, Path(path).parent)})
