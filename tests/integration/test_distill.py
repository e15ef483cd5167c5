"""Training a reasoner: both phases, and going on after a kill."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reverse_codi.errors import UserError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill import projection_start, recall
from reverse_codi.reasoners.distill.run import distill
from reverse_codi.reasoners.distill.training_record import trained_length
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.storage.stages import StageError
from reverse_codi.tasks import Arithmetic, Split

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
STEPS = 30


def recipe_file(folder: Path) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(
        "log: {report_to: []}\n"
        "distill:\n"
        f"  out: {folder / 'reasoner'}\n"
        "  shape: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 4}\n"
        "  n_thoughts: 2\n"
        "  projection_width: 32\n"
        "  n_problems: 300\n"
        "  save_steps: 5\n"
        "  threads: 1\n"
        f"  written: {{steps: {STEPS}, batch_size: 16, student: 0, distill: 0}}\n"
        "  latent: {steps: 10, batch_size: 16}\n"
    )
    return path


def checkpoints(folder: Path) -> list[str]:
    return sorted(
        p.parent.name for p in (folder / "reasoner/written").glob("checkpoint-*/trainer_state.json")
    )


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(projection_start, "STEPS", 20)
    return load_recipe([str(recipe_file(tmp_path))])


def test_a_killed_run_goes_on_and_ends_where_an_uninterrupted_one_does(
    recipe: Recipe, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = tmp_path_factory.mktemp("whole")
    uninterrupted = distill(load_recipe([str(recipe_file(whole))]))

    command = [sys.executable, "-m", "reverse_codi.cli", "distill", str(tmp_path / "recipe.yaml")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not checkpoints(tmp_path) and process.poll() is None:
        assert time.monotonic() < deadline, "no checkpoint in two minutes"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "reasoner/reasoner.json").exists()

    resumed = distill(recipe)
    assert f"checkpoint-{STEPS}" in checkpoints(tmp_path)
    one = load_file(whole / "reasoner/written/model.safetensors")
    other = load_file(tmp_path / "reasoner/written/model.safetensors")
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=1e-3, rtol=1e-2)
    loaded = CodiReasoner.from_pretrained(tmp_path / "reasoner")
    assert loaded.content_hash == resumed.content_hash
    assert loaded.n_thoughts == uninterrupted.n_thoughts == 2
    [problem] = Arithmetic().problems(Split.HELDOUT, 1, seed=0)
    assert loaded.think([problem.question]).latent_inputs.shape == (1, 2, 32)


def test_finished_phases_are_not_trained_again(recipe: Recipe, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "reverse_codi")
    first = distill(recipe)
    began = time.monotonic()
    second = distill(recipe)
    assert first.content_hash == second.content_hash
    asked = Arithmetic().problems(Split.TRAIN, 300, seed=0)
    longest = max(len(first.question_ids(problem.question)) for problem in asked)
    assert trained_length(recipe.distill.out) == longest
    assert caplog.text.count("already done") == 2
    assert time.monotonic() - began < 10


def test_phases_made_with_other_settings_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    distill(recipe)
    given = str(tmp_path / "recipe.yaml")
    for option, refusal in (
        (
            "--distill.n_thoughts=3",
            r"latent was made with distill\.n_thoughts = 2, now 3; set",
        ),
        ("--distill.latent.steps=11", r"latent was made with phase\.steps = 10, now 11"),
        ("--distill.seed=1", r"written was made with distill\.seed = 0, now 1"),
    ):
        with pytest.raises(StageError, match=refusal):
            distill(load_recipe([given, option]))


def test_recall_comes_first_is_kept_and_may_fail(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reverse_codi")
    task = ["--task.name=graph", '--task.options={"step_weights":[[2,1.0]],"distractors":0,"extra_links":0}']
    given = [str(tmp_path / "recipe.yaml"), *task, "--distill.recall.patience=101"]
    with pytest.raises(UserError, match=r"distill\.recall: not learnt in 2 attempts"):
        distill(load_recipe([*given, "--distill.recall.attempts=2"]))
    assert "attempt 2, with other weights" in caplog.text
    assert not (tmp_path / "reasoner/recall/model.safetensors").exists()
    for name, value in (("KNOWN", -1.0), ("DONE", -1.0), ("RETURN", 5)):
        monkeypatch.setattr(recall, name, value)
    for _ in range(2):
        distill(load_recipe(given))
    assert (tmp_path / "reasoner/recall/model.safetensors").is_file()
    assert "phase recall: already done" in caplog.text


def test_without_a_login_the_run_is_kept_offline(tmp_path: Path) -> None:
    given = [str(recipe_file(tmp_path)), "--log.report_to=[wandb]", "--distill.n_thoughts=0"]
    few = ["--distill.written.steps=1", "--distill.latent.steps=1"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "reverse_codi.cli", "distill", *given, *few]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert list((tmp_path / "wandb").glob("offline-run-*"))
