"""TRL's trainer as a run wires it, on the tiny model: what stands for the actors answers at once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.reward import RewardItem, RewardSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS
from reverse_codi.trainers.finite_steps import StopAtNonFinite
from reverse_codi.training.grpo import build_trainer
from reverse_codi.training.monitor import Monitor
from reverse_codi.training.rollouts import Phases
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.scores import Scored
from tests.tiny import make_tiny_policy

G, N = 2, 8


class Sync:
    """Stands for actors that hold whatever they are given."""

    difference = 0.0

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def __call__(self, step: int) -> int:
        return step + 1


def train(
    reasoner: CodiReasoner,
    out: Path,
    checkpoint: str | None = None,
    policy: Policy | None = None,
    **settings: Any,
) -> None:
    """Train in `out` as a run does: checkpoints in `out/grpo`, metrics.jsonl, `best/`.

    Args:
        reasoner: the tiny one.
        out: the run's folder.
        checkpoint: to go on from.
        policy: what is trained; a new one if None.
        settings: of the section `grpo`.
    """
    policy = policy or make_tiny_policy(reasoner)
    given = {"thoughts_per_step": 2, "samples": G, "max_new_tokens": 3, "eval_every": 9, "keep": "last"}
    section = GrpoSection.model_validate({**given, **settings})

    def rollouts(prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        number = trainer.state.global_step // (section.steps_per_generation * section.iterations)
        assert [int(prompt) for prompt in prompts[::G]] == trainer.batch_rows(number)  # known beforehand
        noise = torch.Generator().manual_seed(trainer.state.global_step)
        ids = torch.randint(4, 30, (len(prompts), 3), generator=noise).tolist()
        return {
            "prompt_ids": [[policy.verbalizer_config.n_vocab + int(prompt)] for prompt in prompts],
            "completion_ids": ids,
            "logprobs": [[-3.0] * 3 for _ in prompts],
            "reward_brevity": [-float(sum(row)) for row in ids],
        }

    right = torch.ones(1)
    scalars = {"rollout/match": 0.0, "rollout/distinct": 1.0}
    monitor = Monitor(
        SimpleNamespace(phases=Phases(), scalars=scalars, sync=(sync := Sync(policy)), bring=sync),  # type: ignore[arg-type]
        lambda version: Scored(right, right, 0.0, right, right, right, ["x"]),
        section,
        out,
    )
    stop = StopAtNonFinite("grpo.learning_rate", out / "grpo", POLICY_WEIGHTS)
    recipe = Recipe(grpo=section, reward=RewardSection(functions=[RewardItem(name="brevity")]))
    trainer = build_trainer(policy, rollouts, [1] * N, recipe, out / "grpo", [stop, monitor], [])
    with policy.embedding.bank(torch.randn(N, 32, generator=torch.Generator().manual_seed(1))):
        trainer.train(resume_from_checkpoint=checkpoint)
