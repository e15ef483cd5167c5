from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PrinterCallback, TrainerCallback
from transformers.integrations.integration_utils import WandbCallback

from reverse_codi.processes.workers import AgreeOnControl
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.reward import RewardItem, RewardSection, Schedule
from reverse_codi.recipe.schema import Recipe
from reverse_codi.trackers.reporting import Reporting
from reverse_codi.training.grpo import ThoughtTrainer, build_trainer
from tests.tiny import make_tiny_policy


class Monitor(TrainerCallback):
    """Stands for what adds figures to a step's log."""


def test_the_recipes_rewards_and_the_order_of_callbacks(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
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
        [Reporting(lambda figures, step: None, lambda values: None)],
    )
    assert trainer.reward_func_names == ["hidden_match", "brevity"]
    assert torch.equal(trainer.reward_weights, torch.tensor([2.0, 0.5]))
    assert trainer.multi_objective_aggregation == "normalize_then_sum"
    callbacks = [type(callback) for callback in trainer.callback_handler.callbacks]
    assert PrinterCallback not in callbacks
    # Trackers get the log as it is when their turn comes; then the workers agree on what was asked for.
    assert callbacks[-3:] == [Monitor, Reporting, AgreeOnControl]
    assert WandbCallback not in callbacks  # TRL's own would be a second run


def test_the_recipes_knobs_reach_trl(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    def built(**section: Any) -> ThoughtTrainer:
        recipe = Recipe(grpo=GrpoSection(thoughts_per_step=2, samples=2, **section))
        return build_trainer(
            make_tiny_policy(tiny_reasoner), lambda prompts, trainer: {}, [1] * 8, recipe, tmp_path, [], []
        )

    plain = built()
    assert (plain.num_iterations, plain.epsilon_low, plain.epsilon_high) == (1, 0.2, 0.2)
    assert plain.args.warmup_steps == 5 and plain.advantages is None
    other = built(iterations=3, clip=0.1, clip_high=0.3, warmup_steps=0, advantage="prefix")
    assert (other.num_iterations, other.epsilon_low, other.epsilon_high) == (3, 0.1, 0.3)
    assert other.args.warmup_steps == 0 and other.advantages is not None


def test_a_gpu_that_the_recipe_does_not_name_is_left_alone(
    tiny_reasoner: CodiReasoner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = make_tiny_policy(tiny_reasoner)  # on the processor
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    recipe = Recipe(grpo=GrpoSection(thoughts_per_step=2, samples=2))
    arguments = build_trainer(policy, lambda prompts, trainer: {}, [1] * 8, recipe, tmp_path, [], []).args
    assert (arguments.use_cpu, arguments.bf16, arguments.dataloader_pin_memory) == (True, False, False)


class Texts:
    """Stands for the actors: the same texts for every thought, and a reward that wants low ids."""

    IDS = ([5, 6, 7], [5, 6, 9], [5, 8, 7], [4, 6, 7])

    def __init__(self, n_vocab: int) -> None:
        self.n_vocab = n_vocab
        self.asked: list[tuple[int, list[str]]] = []

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        self.asked.append((trainer.state.global_step, sorted(set(prompts))))
        ids = [list(row) for row in self.IDS] * (len(prompts) // G)
        return {
            "prompt_ids": [[self.n_vocab + int(prompt)] for prompt in prompts],
            "completion_ids": ids,
            "logprobs": [[-3.0] * 3 for _ in prompts],
            "reward_brevity": [-float(sum(row)) for row in ids],
            "total": [-float(sum(row)) for row in ids],
        }


G = 4


def trained(
    reasoner: CodiReasoner, out: Path, checkpoint: str | None = None, shape: str = "value", **section: Any
) -> tuple[ThoughtTrainer, Texts]:
    policy = make_tiny_policy(reasoner)
    texts = Texts(policy.verbalizer_config.n_vocab)
    given = {"thoughts_per_step": 2, "samples": G, "max_new_tokens": 3, "warmup_steps": 0, "save_every": 1}
    recipe = Recipe(
        grpo=GrpoSection.model_validate({**given, **section}),
        reward=RewardSection.model_validate({"functions": ["brevity"], "shape": shape}),
    )
    trainer = build_trainer(policy, texts, [1] * 8, recipe, out, [], [])
    with policy.embedding.bank(torch.randn(8, 32, generator=torch.Generator().manual_seed(1))):
        trainer.train(resume_from_checkpoint=checkpoint)
    return trainer, texts


def logged(trainer: ThoughtTrainer, key: str) -> list[float]:
    return [line[key] for line in trainer.state.log_history if key in line]


def test_a_batch_is_learnt_from_several_times_and_clipping_acts_from_the_second_on(
    tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    trainer, texts = trained(tiny_reasoner, tmp_path, steps=6, iterations=3, learning_rate=0.05, clip=1e-4)
    assert [step for step, _ in texts.asked] == [0, 3]
    assert not set(texts.asked[0][1]) & set(texts.asked[1][1])  # other thoughts each time
    clipped = logged(trainer, "clip_ratio/region_mean")
    assert clipped[0] == clipped[3] == 0  # the policy that wrote the texts
    assert min(clipped[1:3]) > 0 and min(clipped[4:]) > 0
    assert len(logged(trainer, "sampling/importance_sampling_ratio/mean")) == 2  # once a batch


def test_clip_high_leaves_more_room_above(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    settings = {"steps": 3, "iterations": 3, "learning_rate": 0.05, "clip": 1e-4, "clip_high": 1e4}
    trainer, _ = trained(tiny_reasoner, tmp_path, **settings)
    assert max(logged(trainer, "clip_ratio/high_mean")) == 0
    assert logged(trainer, "clip_ratio/low_mean")[1] > 0


def test_a_run_that_stopped_within_a_batch_goes_on_in_step_with_its_thoughts(
    tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    _, whole = trained(tiny_reasoner, tmp_path / "whole", steps=6, iterations=3)
    trained(tiny_reasoner, tmp_path / "cut", steps=4, iterations=3)
    checkpoint = str(tmp_path / "cut" / "checkpoint-4")
    _, rest = trained(tiny_reasoner, tmp_path / "cut", checkpoint, steps=9, iterations=3)
    # The batch under way is sampled again, by the policy at hand; the next begins where it would have begun.
    assert [step for step, _ in rest.asked] == [4, 6]
    assert rest.asked[0][1] == whole.asked[1][1]


@pytest.mark.parametrize(("advantage", "shape"), [("prefix", "value"), ("branch", "value"), ("text", "rank")])
def test_other_advantages_reach_the_loss(
    tiny_reasoner: CodiReasoner, tmp_path: Path, advantage: str, shape: str
) -> None:
    trainer, _ = trained(
        tiny_reasoner, tmp_path, shape=shape, steps=1, learning_rate=0.05, advantage=advantage
    )
    totals = torch.tensor([-18.0, -20, -20, -17])
    ids = torch.tensor(Texts.IDS)
    assert trainer.advantages is not None
    expected = trainer.advantages(totals, ids, torch.ones_like(ids))
    assert trainer._buffered_inputs is not None
    batch = trainer._buffered_inputs[0]  # shuffled, so each text with its own
    for text, found in zip(batch["completion_ids"].tolist(), batch["advantages"], strict=True):
        torch.testing.assert_close(found, expected[Texts.IDS.index(text)])
    assert logged(trainer, "grad_norm")[0] > 0
