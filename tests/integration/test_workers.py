"""Several trainers under Ray Train: the steps are those of one, whatever the number of workers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from reverse_codi.errors import RecipeError, UserError
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.train import train
from reverse_codi.training.preflight import check_actors
from tests.tiny import make_sharp_reasoner

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(600)]

SHARED = ("--train.workers", "2", "--placement.trainer_cpus", "0.5")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_recipe(tmp_path_factory.mktemp("workers"))


def with_recipe(folder: Path) -> Path:
    """A folder with a reasoner and recipe.yaml."""
    make_sharp_reasoner(hidden=64).save_pretrained(folder / "reasoner")
    (folder / "recipe.yaml").write_text(
        "log: {report_to: []}\n"
        f"reasoner: {{path: {folder / 'reasoner'}}}\n"
        f"trace: {{out: {folder / 'traces'}, n: 120, n_heldout: 40, shard_rows: 60}}\n"
        "reading: {encoded_threshold: 0.01, fit_on: gold}\n"
        "verbalizer: {rank: 4, alpha: 8}\n"
        # Without word dropout: each worker would draw words of its own.
        "warm_start: {kind: gold, steps: 60, batch_size: 32, eval_steps: 60, learning_rate: 1.0e-2, "
        "word_dropout: 0}\n"
        "rollout: {cpus: 0.4, engine: {kind: transformers, max_model_len: 64}}\n"
        "reward: {cpus_per_actor: 0.4, functions: [{name: hidden_match}, {name: brevity, weight: 0.1}]}\n"
        "grpo: {steps: 4, thoughts_per_step: 4, samples: 4, max_new_tokens: 8, eval_every: 2, "
        "eval_thoughts: 16, save_every: 2, distractors: 3, learning_rate: 1.0e-3}\n"
    )
    return folder


def recipe(root: Path, out: str, *options: str) -> Recipe:
    return load_recipe([str(root / "recipe.yaml"), "--train.out", str(root / out), *options])


@pytest.fixture(scope="module")
def alone(root: Path, ray_session: None) -> Path:
    train(recipe(root, "alone"))
    return root / "alone"


@pytest.fixture(scope="module")
def shared(root: Path, alone: Path) -> Path:
    """GRPO of two workers from the warm start of one: a difference of rounding grows with each step."""
    for name in ("reading", "warm"):
        shutil.copytree(alone / name, root / "shared" / name)
    assert train(recipe(root, "shared", *SHARED)) == root / "shared/verbalizer"
    return root / "shared"


def steps(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_the_warm_start_of_two_is_that_of_one(root: Path) -> None:
    short = ("--warm_start.steps", "8", "--warm_start.learning_rate", "1e-3", "--grpo.steps", "0")
    train(recipe(root, "warm-one", *short))
    train(recipe(root, "warm-two", *short, *SHARED))
    ours, theirs = adapter(root / "warm-one/warm"), adapter(root / "warm-two/warm")
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert torch.allclose(weight, theirs[name], atol=1e-4), name
    assert max(float(weight.abs().max()) for name, weight in ours.items() if "lora_B" in name) > 1e-3


def test_two_workers_have_the_losses_of_one(alone: Path, shared: Path) -> None:
    ours, theirs = steps(alone), steps(shared)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    learnt = 0
    for one, two in zip(ours, theirs, strict=True):
        assert one.keys() == two.keys()
        for name in ("loss", "reward", "kl", "grad_norm", "completions/mean_length", "rollout/match"):
            if name in one:
                assert two[name] == pytest.approx(one[name], abs=1e-4), (name, one["step"])
                learnt += name == "loss"
        for name in (key for key in one if key.startswith("heldout/")):
            assert two[name] == pytest.approx(one[name], abs=1e-3), (name, one["step"])
    assert learnt == 4
    assert max(line.get("grad_norm", 0) for line in ours) > 1e-3


def test_every_text_is_written_once(alone: Path, shared: Path) -> None:
    texts = [
        [json.loads(line)["text"] for line in (folder / "completions.jsonl").read_text().splitlines()]
        for folder in (alone, shared)
    ]
    assert len(texts[0]) == 4 * 4 * 4
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_a_run_of_two_is_resumed_by_two_and_by_one(root: Path, shared: Path) -> None:
    options = ("--grpo.steps", "2", "--grpo.schedule", "constant")
    longer = ("--grpo.steps", "4", "--grpo.schedule", "constant")
    for name, workers in (("resumed-two", SHARED), ("resumed-one", ())):
        train(recipe(root, name, *SHARED, *options))
        train(recipe(root, name, *workers, *longer), resume=True)
    two, one = steps(root / "resumed-two"), steps(root / "resumed-one")
    assert [line["loss"] for line in two if "loss" in line] == pytest.approx(
        [line["loss"] for line in one if "loss" in line], abs=1e-4
    )


def test_what_the_first_worker_refuses_is_said_as_by_one(root: Path, shared: Path) -> None:
    with pytest.raises(UserError, match="is of an earlier run; add --resume"):
        train(recipe(root, "shared", *SHARED))


def test_a_batch_that_cannot_be_shared_is_refused_before_ray_waits(root: Path) -> None:
    with pytest.raises(RecipeError, match=r"warm_start\.batch_size = 33 cannot be shared equally"):
        check_actors(recipe(root, "odd", *SHARED, "--warm_start.batch_size", "33"))
    with pytest.raises(RecipeError, match="thoughts_per_step = 5 cannot be shared equally"):
        check_actors(recipe(root, "odd", *SHARED, "--grpo.thoughts_per_step", "5"))
    with pytest.raises(
        RecipeError, match=r"device = cuda:0, but placement\.trainer_gpus = 0 hides every GPU"
    ):
        check_actors(recipe(root, "odd", *SHARED, "--reasoner.device", "cuda:0"))
    with pytest.raises(RecipeError, match=r"ask for 40\.8 CPU .*Ray offers 2"):
        check_actors(recipe(root, "odd", "--train.workers", "2", "--placement.trainer_cpus", "20"))
