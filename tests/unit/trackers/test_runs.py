"""What each tracker keeps of a training in two processes, the second of which resumes it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.trackers import scalars, texts, tracked_by_trackio, wandb_files

pytestmark = pytest.mark.long

PROCESS = """
import json, logging, sys
from pathlib import Path

reached = []
def heard(event, values):
    if event in ("socket.connect", "socket.getaddrinfo"):
        address = values[1] if event == "socket.connect" else values[0]
        host = str(address[0] if isinstance(address, tuple) else address)
        if not host.startswith(("127.", "localhost", "/")):
            reached.append(host)
sys.addaudithook(heard)

from transformers import TrainerControl, TrainerState, TrainingArguments
from reverse_codi.recipe.schema import Recipe
from reverse_codi.trackers.tracker import continued, log_artifact, log_point, log_table, tracked

trackers, again, fail = json.loads(sys.argv[1]), sys.argv[2] == "again", sys.argv[3] == "fail"
recipe = Recipe(log={"report_to": trackers, "project": "mine", "completions": 2})
state, control = TrainerState(), TrainerControl()
arguments = TrainingArguments("sft", report_to="none", use_cpu=True)
texts = {"12 + 5 = 17.": 0.5, "a|b": float("nan"), "no": 0}
rows = [{"text": text, "match": match} for text, match in texts.items()]
with tracked(recipe, "train", Path("run"), again=again, axis="stage"):
    assert continued() == again
    with tracked(recipe, "warm start", Path("run"), again=again, first=3 if again else 0) as [reporting]:
        reporting.on_train_begin(arguments, state, control)
        # The first process goes one step beyond its last checkpoint.
        for state.global_step in (3, 4) if again else (1, 2, 3):
            reporting.on_log(arguments, state, control, {"loss": state.global_step / 8, "name": "x"})
        log_point({"heldout/match": 0.25, "heldout/none": None}, state.global_step)
        log_table("completions", rows, state.global_step)
        if fail:
            raise SystemExit(json.dumps(reached))
    log_point({"seconds/warm start": 7.0})
    log_point({"total/texts": 80.0}, int(again))
    log_artifact("verbalizer", "model", [Path("verbalizer")])
print("reached", json.dumps(reached))
"""


INSTALLED = [name for name in ("tensorboard", "trackio", "wandb") if importlib.util.find_spec(name)]


class Tracked(NamedTuple):
    """What two processes wrote, and what they printed."""

    place: Path
    first: subprocess.CompletedProcess[str]
    second: subprocess.CompletedProcess[str]
    ids: dict[str, str]
    group: str


def run(place: Path, trackers: list[str], *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "TRACKIO"))}
    environment = kept | {
        "WANDB_MODE": "dryrun",
        "TRACKIO_DIR": str(place / "trackio"),
        "HOME": str(place),
        "PYTHONPATH": str(Path.cwd()),
        "HF_HUB_OFFLINE": "0",  # the audit hook hears what is asked
    }
    given = [sys.executable, "-c", PROCESS, json.dumps(trackers), *words]
    done = subprocess.run(given, cwd=place, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """All trackers that are installed, side by side."""
    place = tmp_path_factory.mktemp("tracked")
    (place / "verbalizer").mkdir()
    (place / "verbalizer/adapter.txt").write_text("weights")
    first = run(place, INSTALLED, "new", "")
    before = json.loads((place / "run/trackers.json").read_text())
    second = run(place, INSTALLED, "again", "")
    assert json.loads((place / "run/trackers.json").read_text()) == before
    return Tracked(place, first, second, before["runs"], before["group"])


def test_nothing_reaches_a_network_or_standard_output(tracked: Tracked) -> None:
    assert tracked.first.stdout == tracked.second.stdout == "reached []\n"
    assert "wandb: Run history" in tracked.first.stderr


def test_wandb(tracked: Tracked) -> None:
    files = wandb_files(tracked.place / "wandb")
    assert sorted(file.id for file in files) == sorted([*tracked.ids.values()] * 2)
    assert {file.group for file in files} == {tracked.group} and {file.project for file in files} == {"mine"}
    begun, resumed = (file for file in files if file.job == "warm start")
    assert begun.points("train/loss") == [(1, 0.125), (2, 0.25), (3, 0.375)]
    assert resumed.points("train/loss") == [(3, 0.375), (4, 0.5)]
    assert begun.points("heldout/match") == [(3, 0.25)] and begun.points("heldout/none") == []
    assert begun.points("completions/nrows") == [(3, 2)] and begun.points("completions/ncols") == [(3, 2)]
    assert begun.config["warm_start"]["kind"] == "written" and begun.config["trainer"]["use_cpu"] is True
    whole = next(file for file in files if file.job == "train")
    assert whole.points("total/texts", "stage") == [(0, 80.0)]
    assert [row["seconds/warm start"] for row in whole.history if "seconds/warm start" in row] == [7.0]
    assert whole.artifacts == {"model": ["adapter.txt"]}
    assert whole.exit_code == begun.exit_code == 0


def test_a_stage_that_fails_is_marked_as_failed(tmp_path: Path) -> None:
    run(tmp_path, ["wandb"], "new", "fail", code=1)
    assert [file.exit_code for file in wandb_files(tmp_path / "wandb")] == [1, 1]


@pytest.mark.skipif("tensorboard" not in INSTALLED, reason="tensorboard is not installed")
def test_tensorboard(tracked: Tracked) -> None:
    folder = tracked.place / "run/tensorboard"
    assert sorted(path.name for path in folder.iterdir()) == ["train", "warm-start"]
    # Of step 3, which the first process wrote too, there is one point.
    assert scalars(folder / "warm-start", "train/loss") == [(1, 0.125), (2, 0.25), (3, 0.375), (4, 0.5)]
    table = "| text | match |\n| --- | --- |\n| 12 + 5 = 17. | 0.5 |\n| a\\|b | None |"
    assert texts(folder / "warm-start", "completions")[-1] == (4, table)
    assert scalars(folder / "train", "seconds/warm start")[-1] == (0, 7.0)
    [*_, (_, files)] = texts(folder / "train", f"artifacts/verbalizer-{tracked.group}")
    assert files == f"model\n\n- `{tracked.place.resolve() / 'verbalizer'}`"
    assert "kind: written" in texts(folder / "warm-start", "recipe")[0][1]


@pytest.mark.skipif("trackio" not in INSTALLED, reason="trackio is not installed")
def test_trackio(tracked: Tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "* Created new run" in tracked.first.stderr
    assert "* Resumed existing run" in tracked.second.stderr
    from trackio import sqlite_storage, utils

    for module in (utils, sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", tracked.place / "trackio")
    rows = tracked_by_trackio("mine", f"{tracked.group} warm start")
    losses = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]
    assert losses == [(1, 0.125), (2, 0.25), (3, 0.375), (3, 0.375), (4, 0.5)]
    tables = [row["completions"]["_value"] for row in rows if "completions" in row]
    assert tables[0] == [{"text": "12 + 5 = 17.", "match": 0.5}, {"text": "a|b", "match": None}]
    storage = sqlite_storage.SQLiteStorage
    config = storage.get_run_config("mine", f"{tracked.group} warm start")
    assert config["_Group"] == tracked.group and config["trainer"]["use_cpu"] is True
    [artifact] = storage.list_artifacts("mine")
    assert artifact["name"] == f"verbalizer-{tracked.group}" and artifact["type"] == "model"
