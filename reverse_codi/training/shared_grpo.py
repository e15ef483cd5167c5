"""GRPO in several workers: the first samples and scores the texts of all, and syncs the rollout actors.

Each worker learns from an equal share of a step's thoughts. TRL gathers rewards and lengths over all of them,
and the gradients are averaged, so the step is that of one worker with the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from trl import GRPOTrainer

from reverse_codi.processes.workers import at_first
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training.grpo import RolloutFunc, build_trainer
from reverse_codi.verbalize.with_others import SharedPolicy

Row = tuple[dict[str, Any], Any]
"""The columns of one text, and the weights of the rewards."""


class SharedRollouts:
    """TRL's `rollout_func` in each worker: the texts of all are made by the first.

    Args:
        rollouts: of the first worker; None in the others.
    """

    def __init__(self, rollouts: RolloutFunc | None = None) -> None:
        self.rollouts = rollouts

    def __call__(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, list[Any]]:
        """This worker's texts; prompts in the order of the ranks are those of a single worker."""

        def of_all(every: list[str]) -> list[Row]:
            assert self.rollouts is not None  # the first worker has them
            columns = self.rollouts(every, trainer)
            # The weights that the rewards have in this step.
            weights = trainer.reward_weights.tolist()
            names = list(columns)
            rows = zip(*columns.values(), strict=True)
            return [(dict(zip(names, row, strict=True)), weights) for row in rows]

        found: list[Row] = at_first(prompts, of_all)
        trainer.reward_weights = torch.tensor(found[0][1])
        return {name: [row[name] for row, _ in found] for name in found[0][0]}


@dataclass(frozen=True)
class SharedGrpo:
    """GRPO as another worker takes part in it.

    Attributes:
        policy: before the first step of this process.
        lengths: of each training thought its problem's number of steps.
        section: hyperparameters of the stage.
        out: folder of checkpoints.
        checkpoint: the one that it goes on from; None for none.
    """

    policy: SharedPolicy
    lengths: Sequence[int]
    section: GrpoSection
    out: Path
    checkpoint: str | None

    def __call__(self, reasoner: CodiReasoner, recipe: Recipe) -> None:
        """Take every step together with the first worker, which alone watches, evaluates and stops."""
        recipe = recipe.model_copy(update={"grpo": self.section})
        with self.policy.loaded(reasoner) as policy:
            trainer = build_trainer(policy, SharedRollouts(), self.lengths, recipe, self.out, [], [])
            trainer.train(resume_from_checkpoint=self.checkpoint)
