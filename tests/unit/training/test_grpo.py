from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PrinterCallback, TrainerCallback
from transformers.integrations.integration_utils import WandbCallback

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.reward import RewardItem, RewardSection, Schedule
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training.grpo import build_trainer
from tests.tiny import make_tiny_policy


class Monitor(TrainerCallback):
    """Stands for what adds figures to a step's log."""


@pytest.mark.parametrize("report_to", [["wandb"], []])
def test_the_recipes_rewards_and_the_order_of_callbacks(
    tiny_reasoner: CodiReasoner, tmp_path: Path, report_to: list[str]
) -> None:
    items = [
        RewardItem(name="hidden_match", weight=2.0),
        RewardItem(name="brevity", weight=0.5, schedule=Schedule(to=0.0, steps=10)),
    ]
    trainer = build_trainer(
        make_tiny_policy(tiny_reasoner),
        lambda prompts, trainer: {},
        [1] * 8,
        Recipe(
            grpo=GrpoSection(thoughts_per_step=2, samples=2),
            reward=RewardSection(functions=items, aggregation="normalize_then_sum"),
        ),
        tmp_path,
        [Monitor()],
        report_to,
    )
    assert trainer.reward_func_names == ["hidden_match", "brevity"]
    assert torch.equal(trainer.reward_weights, torch.tensor([2.0, 0.5]))
    assert trainer.multi_objective_aggregation == "normalize_then_sum"
    callbacks = [type(callback) for callback in trainer.callback_handler.callbacks]
    assert PrinterCallback not in callbacks
    # W&B sends the log as it is when its turn comes
    assert callbacks[-1] is (WandbCallback if report_to else Monitor)
    assert callbacks.count(WandbCallback) == len(report_to)
