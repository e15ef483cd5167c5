from __future__ import annotations

from typing import Any

import pytest

from reverse_codi.processes.environment import MachineError
from reverse_codi.recipe.reward import RewardItem, RewardSection
from reverse_codi.recipe.rollout import RolloutSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training import runtime
from reverse_codi.training.runtime import gold_steps, placement, with_available_engine


def test_placement_names_every_actor_and_what_ray_must_offer() -> None:
    recipe = Recipe(
        rollout=RolloutSection(actors=3, cpus=2, gpus=0.5),
        reward=RewardSection(
            functions=[RewardItem(name="hidden_match"), RewardItem(name="brevity")],
            actors=2,
            gpus_per_actor=0.25,
        ),
    )
    first, second, third = placement(recipe).splitlines()
    assert first == "3 rollout actor(s): vllm, 2 CPU, 0.5 GPU each"
    assert second == "2 reward actor(s): hidden_match, brevity; 1 CPU, 0.25 GPU each"
    assert third == "1 trainer in this process; Ray must offer 8 CPU and 2 GPU in all (PACK)"


def test_placement_names_what_shares_machines_and_what_is_kept_for_the_trainer() -> None:
    section = {"strategy": "SPREAD", "colocate": ["rollout", "reward"], "trainer_gpus": 0.5}
    line = placement(Recipe.model_validate({"placement": section})).splitlines()[-1]
    assert line.endswith(
        "2 CPU and 0.5 GPU in all (SPREAD, together: rollout, reward, 0 CPU and 0.5 GPU kept for the trainer)"
    )


def test_a_reward_with_an_actor_of_its_own_is_counted() -> None:
    items = [RewardItem(name="hidden_match"), RewardItem(name="reconstruction", options={"cpus": 0.5})]
    recipe = Recipe(reward=RewardSection(functions=items))
    _, _, own, total = placement(recipe).splitlines()
    assert own == "1 actor of reconstruction's own: 0.5 CPU, 0 GPU"
    assert "2.5 CPU and 0 GPU in all" in total


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({}, "gold steps: used for the choice of the checkpoint, held-out ones (grpo.keep)"),
        ({"grpo": {"keep": "match"}}, "gold steps: not used"),
        ({"grpo": {"steps": 0}}, "gold steps: not used"),
        (
            {
                "reading": {"fit_on": "gold"},
                "warm_start": {"kind": "gold", "problems": 1000},
                "reward": {"functions": [{"name": "hidden_match"}, {"name": "gold_claim"}]},
                "grpo": {"keep": "last"},
            },
            "gold steps: used for probes and maps (reading.fit_on); the warm start's texts of 1,000 problems "
            "(warm_start.kind); the reward gold_claim (reward.functions)",
        ),
        ({"warm_start": {"kind": "gold", "steps": 0}, "grpo": {"steps": 0}}, "gold steps: not used"),
    ],
)
def test_a_run_says_where_it_uses_gold_steps(sections: dict[str, Any], line: str) -> None:
    assert gold_steps(Recipe.model_validate(sections)) == line


def test_without_vllm_the_transformers_engine_steps_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = Recipe()
    assert recipe.rollout.engine.kind == "vllm"
    monkeypatch.setattr("reverse_codi.training.runtime.has_vllm", lambda: False)
    changed = with_available_engine(recipe)
    assert changed.rollout.engine.kind == "transformers"
    assert "vLLM is not installed" in caplog.text
    assert changed.grpo == recipe.grpo
    assert with_available_engine(changed) is changed
    monkeypatch.setattr("reverse_codi.training.runtime.has_vllm", lambda: True)
    assert with_available_engine(recipe) is recipe


def test_a_ray_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(**settings: Any) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(runtime.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(runtime.ray, "init", slow)
    with pytest.raises(MachineError, match=r"^Ray does not start .*timed out during startup.*end other work"):
        runtime.start_ray()


def test_near_misses_of_a_text_are_read_too() -> None:
    def readings(*functions: Any) -> int:
        return runtime.readings_of_a_text(RewardSection(functions=list(functions)))

    assert readings("hidden_match") == 1
    assert readings("hidden_match", "contrastive") == 5
    assert readings(RewardItem(name="contrastive", options={"near_misses": 2})) == 3
