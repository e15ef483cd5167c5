"""What a run at true size stands on: rows of GSM8K's form, planted steps, keys with reasons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from reverse_codi.errors import RecipeError
from reverse_codi.evaluation.true_size import (
    as_large_as,
    generated_rows,
    layout_of,
    overrides,
    rewrite,
    with_random_weights,
)
from reverse_codi.reasoners.checkpoints.random_weights import PUBLIC, Written
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import reasoner_folder
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split
from reverse_codi.tasks.gsm8k import GSM8K
from reverse_codi.traces.store import TraceStore
from tests.tiny import make_tiny_traces


def test_generated_rows_are_problems_of_gsm8k_with_their_steps(tmp_path: Path) -> None:
    file = generated_rows(tmp_path, n=300)
    task = GSM8K(source=str(file))
    assert len(task.corpus.train) + len(task.corpus.heldout) == 300
    problems = task.problems(Split.TRAIN, 200, seed=0)
    for problem in problems:
        assert problem.steps[-1].result == problem.answer
        assert all(
            claim.endswith(f"= {step.result}")
            for claim, step in zip(problem.claims, problem.steps, strict=True)
        )
    assert {len(problem.steps) for problem in problems} == {1, 2, 3, 4}
    before = file.read_bytes()
    assert generated_rows(tmp_path, n=7).read_bytes() == before  # one that is there is kept


def test_a_recipe_of_no_known_layout_is_refused() -> None:
    with pytest.raises(
        RecipeError, match=r"reasoner.path = 'embedded': no layout .*zen-E/CODI-gpt2, bcywinski"
    ):
        layout_of(Recipe())


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", ["codi-gpt2", "codi-llama-1b-answer-only"])
def test_every_key_is_one_of_the_recipes_and_has_a_reason(
    name: str, device: Literal["cpu", "cuda"], tmp_path: Path
) -> None:
    asked = load_recipe([name])
    assert asked.reasoner.path in PUBLIC
    written = Written(tmp_path / "w", tmp_path / "b")
    rows = overrides(asked, tmp_path, tmp_path / "data.jsonl", written, device)
    assert all(why for _, _, why in rows)
    recipe = load_recipe([name, *(word for key, value, _ in rows for word in (f"--{key}", value))])
    # What is learnt, from what and by which rewards stays the recipe's.
    assert recipe.reading.fit_on == asked.reading.fit_on
    assert recipe.reading.spec == asked.reading.spec
    assert recipe.warm_start.kind == asked.warm_start.kind
    assert recipe.verbalizer == asked.verbalizer
    assert recipe.reward.functions == asked.reward.functions
    assert recipe.rollout.engine.kind == asked.rollout.engine.kind == "vllm"
    assert recipe.reasoner.device == recipe.rollout.engine.device == device
    gpus, asked_gpus = ((of.rollout.gpus, of.reward.gpus_per_actor) for of in (recipe, asked))
    assert gpus == (asked_gpus if device == "cuda" else (0, 0))
    # On a GPU a step is as large as the recipe's.
    assert (recipe.grpo.thoughts_per_step == asked.grpo.thoughts_per_step) == (device == "cuda")


def test_planted_thoughts_are_as_large_as_the_models_own(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    own = make_tiny_traces(tiny_reasoner, tmp_path / "traces", 100).hidden_states
    thoughts = torch.randn(100, 3, 32, generator=torch.Generator().manual_seed(0))
    hidden = as_large_as(own, 5 * thoughts)
    assert torch.equal(hidden[:, 3], own[:, 3])
    torch.testing.assert_close(hidden[:, :3].mean((0, 2)), own[:, :3].mean((0, 2)), atol=0.2, rtol=0)
    size = own[:, :3].std(0, unbiased=False).mean(1).clamp(min=0.1)
    torch.testing.assert_close(hidden[:, :3].std(0).mean(1), size, rtol=0.1, atol=0)
    # each is the planted thought, but for its site's place and scale
    for k in range(3):
        both = torch.stack([(hidden[:, k] - own[:, k].mean(0)).flatten(), thoughts[:, k].flatten()])
        assert float(torch.corrcoef(both)[0, 1]) > 0.999


def test_rewritten_traces_keep_all_but_their_vectors(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    store = make_tiny_traces(tiny_reasoner, folder, 30)
    before = [store[row] for row in range(30)]
    manifest = json.loads((folder / "manifest.json").read_text())
    hidden, latents = torch.full((30, 4, 32), 2.0), torch.full((30, 3, 32), 3.0)
    rewrite(store, folder, hidden, latents)
    after = TraceStore.open(folder, tiny_reasoner)
    assert json.loads((folder / "manifest.json").read_text())["header"] == manifest["header"]
    for row, old in enumerate(before):
        new = after[row]
        assert np.all(new.hidden_states == 2) and np.all(new.latent_inputs == 3)
        fields = [name for name in vars(old) if name not in ("hidden_states", "latent_inputs")]
        assert all(getattr(new, name) == getattr(old, name) for name in fields)


def test_random_weights_take_the_place_of_a_checkpoint_at_its_width(tmp_path: Path) -> None:
    asked = load_recipe(["codi-gpt2", "--reasoner.device", "cpu"])
    problems = Arithmetic().problems(Split.TRAIN, 30, 0)
    recipe = with_random_weights(asked, problems, tmp_path, layers=1, seed=0)
    assert recipe.model_copy(update={"reasoner": asked.reasoner}) == asked
    config = json.loads((reasoner_folder(recipe.reasoner) / "config.json").read_text())
    assert (config["n_layer"], config["n_embd"], config["vocab_size"]) == (1, 768, 50_260)
    with pytest.raises(RecipeError, match="no layout of random weights is known"):
        with_random_weights(Recipe(), problems, tmp_path / "other", layers=1, seed=0)
    assert not (tmp_path / "other").exists()
