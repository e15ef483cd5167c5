"""What each tracker keeps of `reverse-codi report RUN`, made twice, of a training that it has."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import yaml

from tests.contract.test_tracker_contracts import printed
from tests.trackers import texts, wandb_files

INSTALLED = [name for name in ("tensorboard", "trackio", "wandb") if importlib.util.find_spec(name)]
REPORT = """
from reverse_codi.cli.main import main
main(["report", "run", "--out", "report.html"])
"""


def report(place: Path) -> str:
    return printed(REPORT, place, WANDB_MODE="dryrun", PYTHONPATH=str(Path.cwd()))


def make_run(place: Path, **log: object) -> Path:
    run = place / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "kl": 0.1}\n')
    (run / "recipe.yaml").write_text(
        yaml.safe_dump({"log": {"report_to": INSTALLED, "project": "mine", **log}})
    )
    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the report was made twice."""
    folder = tmp_path_factory.mktemp("reported")
    run = make_run(folder)
    (run / "trackers.json").write_text(json.dumps({"group": "g-1", "runs": {"train": "train-1"}}))
    for _ in range(2):
        assert report(folder) == "report: report.html\n"
    return folder


def test_wandb_has_it_twice_in_one_run_of_the_group(place: Path) -> None:
    kept = json.loads((place / "run/trackers.json").read_text())
    assert kept["group"] == "g-1" and kept["runs"].keys() == {"train", "report"}
    files = wandb_files(place / "wandb")
    assert [(file.id, file.group, file.job) for file in files] == [
        (kept["runs"]["report"], "g-1", "report")
    ] * 2
    assert [file.artifacts for file in files] == [{"report": ["report.html"]}] * 2


@pytest.mark.skipif("tensorboard" not in INSTALLED, reason="tensorboard is not installed")
def test_tensorboard_says_where_it_lies(place: Path) -> None:
    [*_, (_, said)] = texts(place / "run/tensorboard/report", "artifacts/report-g-1")
    assert said == f"report\n\n- `{place.resolve() / 'report.html'}`"


@pytest.mark.skipif("trackio" not in INSTALLED, reason="trackio is not installed")
def test_trackio_has_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trackio import sqlite_storage, utils

    for module in (utils, sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", place / "trackio")
    [artifact] = sqlite_storage.SQLiteStorage.list_artifacts("mine")
    assert (artifact["name"], artifact["type"]) == ("report-g-1", "report")


@pytest.mark.parametrize("known", [True, False])
def test_nothing_is_kept_that_nobody_asked_for(known: bool, tmp_path: Path) -> None:
    """The recipe wants no artifacts, or no tracker knows the run."""
    run = make_run(tmp_path, artifacts=not known)
    if known:
        (run / "trackers.json").write_text(json.dumps({"group": "g-1", "runs": {}}))
    assert report(tmp_path) == "report: report.html\n"
    assert not (tmp_path / "wandb").exists() and not (run / "tensorboard").exists()
