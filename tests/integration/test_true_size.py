"""Recipes of public checkpoints at full width and vocabulary, on random weights.

`make test-long` has one layer and few of everything; the slow tests run the command as a user would.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.evaluation.true_size import generated_rows, overrides, plant, write_model
from reverse_codi.reasoners.load import import_report, reasoner_folder
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.train import train
from reverse_codi.training.runtime import with_available_engine
from reverse_codi.verbalize.verbalizer import Verbalizer

pytestmark = pytest.mark.long

FEW = {
    "trace.n": 80,
    "trace.n_heldout": 16,
    "warm_start.steps": 2,
    "warm_start.batch_size": 16,
    "warm_start.eval_steps": 2,
    "grpo.thoughts_per_step": 4,
    "grpo.samples": 4,
    "grpo.eval_thoughts": 8,
    "rollout.cpus": 0.5,
    "reward.cpus_per_actor": 0.5,
}


def small(name: str, root: Path, layers: int) -> Recipe:
    """A recipe over random weights of reduced depth, with few of everything."""
    data, asked = generated_rows(root / "data", n=300), load_recipe([name])
    written = write_model(asked, data, root / "hub", layers, seed=0)
    keys = {key: value for key, value, _ in overrides(asked, root, data, written)} | FEW
    words = [word for key, value in keys.items() for word in (f"--{key}", str(value))]
    return with_available_engine(load_recipe([name, *words]))


def test_a_recipe_runs_at_full_width_and_vocabulary(tmp_path: Path, ray_session: None) -> None:
    recipe = small("codi-gpt2", tmp_path, layers=1)
    report = import_report(reasoner_folder(recipe.reasoner))
    assert report is not None and report.n_tensors == 31 and report.n_aside == 0
    plant(recipe, writes=2)
    kept = json.loads(Path(recipe.trace.out, "written_steps.json").read_text())["written"]
    assert len(kept) == 78 and all(kept)  # the model writes for the last two
    folder = train(recipe)
    written = json.loads(Path(recipe.trace.out, "written_steps.json").read_text())["written"]
    assert written[:78] == kept and len(written) == 80
    out = Path(recipe.train.out)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "reward" in line]
    assert [line["step"] for line in steps] == [1, 2]
    # Texts end, so that rewards read some; trainer and engine hold the same policy.
    assert all(line["completions/clipped_ratio"] < 1 for line in steps)
    assert all(line["sync/canary"] < 0.05 for line in steps)
    verbalizer = Verbalizer.from_pretrained(folder, reasoner_folder(recipe.reasoner))
    said = verbalizer.translate("Ann has 12 apples. She buys 5 more. How many apples does she have?")
    [rows] = said.traces
    assert [row.site for row in rows] == [f"h{k}" for k in range(6)]
    assert all(row.match is not None for row in rows)


COMMAND = [sys.executable, "-m", "reverse_codi.cli", "true-size"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["codi-gpt2", "codi-llama-1b-answer-only"])
def test_the_command_measures_every_stage(name: str, tmp_path: Path) -> None:
    """Two layers, full width and vocabulary; GPT-2's own depth takes a quarter of an hour."""
    words = [word for key, value in FEW.items() for word in (f"--{key}", str(value))]
    own = ["--layers", "2", "--write", "2", "--out", str(tmp_path / "run")]
    done = subprocess.run([*COMMAND, name, *own, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout[-3000:]
    record: dict[str, Any] = json.loads((tmp_path / "run/true_size.json").read_text())
    stages = list(dict.fromkeys(part["stage"] for part in record["parts"]))
    verbs = ["checkpoint", "trace", "train", "train", "train", "verbalize", "evaluate"]
    commands = [f"{number}. {verb}" for number, verb in enumerate(verbs, start=1)]
    assert stages == [*commands[:2], "(steps planted)", *commands[2:]]
    assert all(part["seconds"] > 0 and part["times"] >= 1 for part in record["parts"])
    assert {key["name"] for key in record["keys"]} >= {
        "reasoner.path",
        "trace.n",
        "reading.encoded_threshold",
    }
    ray = [peak["name"] for part in record["parts"] for peak in part["processes"] if "ray" in peak["name"]]
    assert {"ray RolloutActor", "ray RewardActor"} <= set(ray)
    assert 0.5 < record["peak_gib"] < 22
