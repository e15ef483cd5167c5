from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from reverse_codi.processes import stopping
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.reward import RewardSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS, last_complete_checkpoint, steps_of
from reverse_codi.trainers.stop import StopWhenAsked
from reverse_codi.training.dropped_step import LastWholeStep, whole_steps_kept
from reverse_codi.training.grpo import ThoughtTrainer, build_trainer
from tests.tiny import make_tiny_policy

G = 4
IDS = ([5, 6, 7], [5, 6, 9], [5, 8, 7], [4, 6, 7])


class Texts:
    """Stands for the actors; a signal comes in a step, before its texts are there or after."""

    def __init__(self, n_vocab: int, step: int | None, after: bool) -> None:
        self.n_vocab, self.step, self.after = n_vocab, step, after
        self.asked: list[int] = []

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        if self.step is not None and trainer.state.global_step + 1 == self.step and not self.after:
            with stopping.droppable():
                torch.rand(3)  # what a step draws before it is dropped must not count
                os.kill(os.getpid(), signal.SIGTERM)
                torch.rand(3)
        elif trainer.state.global_step + 1 == self.step:
            os.kill(os.getpid(), signal.SIGTERM)
        self.asked.append(trainer.state.global_step)
        ids = [list(row) for row in IDS] * (len(prompts) // G)
        return {
            "prompt_ids": [[self.n_vocab + int(prompt)] for prompt in prompts],
            "completion_ids": ids,
            "logprobs": [[-3.0] * 3 for _ in prompts],
            "reward_brevity": [-float(sum(row)) for row in ids],
            "total": [-float(sum(row)) for row in ids],
        }


def trained(
    reasoner: CodiReasoner,
    out: Path,
    checkpoint: str | None = None,
    step: int | None = None,
    after: bool = False,
) -> ThoughtTrainer:
    policy = make_tiny_policy(reasoner)
    texts = Texts(policy.verbalizer_config.n_vocab, step, after)
    section = GrpoSection(
        steps=6,
        thoughts_per_step=2,
        samples=G,
        max_new_tokens=3,
        warmup_steps=0,
        save_every=4,
        learning_rate=0.05,
    )
    recipe = Recipe(grpo=section, reward=RewardSection.model_validate({"functions": ["brevity"]}))
    last = LastWholeStep(steps_of(checkpoint))
    trainer = build_trainer(policy, texts, [1] * 8, recipe, out, [StopWhenAsked("grpo"), last], [])
    bank = policy.embedding.bank(torch.randn(8, 32, generator=torch.Generator().manual_seed(1)))
    with stopping.listening(), bank, whole_steps_kept(trainer, last, "grpo"):
        trainer.train(resume_from_checkpoint=checkpoint)
    return trainer


def weights(trainer: ThoughtTrainer) -> dict[str, torch.Tensor]:
    return {name: w for name, w in trainer.model.named_parameters() if "lora" in name and "default" in name}


@pytest.mark.parametrize(("step", "after", "kept"), [(4, False, 3), (4, True, 4), (5, True, 5)])
def test_a_stopped_run_keeps_its_whole_steps_and_goes_on_as_if_nothing_had_been(
    tiny_reasoner: CodiReasoner, tmp_path: Path, step: int, after: bool, kept: int
) -> None:
    whole = trained(tiny_reasoner, tmp_path / "whole")
    with pytest.raises(stopping.StopAsked):
        trained(tiny_reasoner, tmp_path / "cut", step=step, after=after)
    checkpoint = last_complete_checkpoint(tmp_path / "cut", POLICY_WEIGHTS)
    assert checkpoint is not None and steps_of(checkpoint) == kept
    resumed = trained(tiny_reasoner, tmp_path / "cut", checkpoint)
    for name, weight in weights(whole).items():
        assert weight.equal(weights(resumed)[name]), name
    losses = [[line["loss"] for line in run.state.log_history if "loss" in line] for run in (whole, resumed)]
    assert losses[0] == losses[1]


def test_a_run_that_is_stopped_in_its_first_step_leaves_no_checkpoint(
    tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    with pytest.raises(stopping.StopAsked):
        trained(tiny_reasoner, tmp_path, step=1)
    assert last_complete_checkpoint(tmp_path, POLICY_WEIGHTS) is None
