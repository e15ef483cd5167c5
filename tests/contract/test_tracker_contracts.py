"""What `reverse_codi.trackers` relies on in W&B, TensorBoard, trackio and transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers.integrations.integration_utils import rewrite_logs

from tests.trackers import scalars, wandb_files


def printed(code: str, place: Path, **environment: str) -> str:
    """What a fresh process prints: the libraries read their environment once."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "TRACKIO"))}
    given = kept | {"HOME": str(place), "TRACKIO_DIR": str(place / "trackio"), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=given, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_transformers_names_of_figures() -> None:
    logs = {"loss": 1.0, "eval_loss": 2.0, "seconds/train": 3.0}
    assert rewrite_logs(logs) == {"train/loss": 1.0, "eval/loss": 2.0, "train/seconds/train": 3.0}


def test_wandb_keeps_runs_open_side_by_side_and_prints_nothing_to_standard_output(tmp_path: Path) -> None:
    code = """
import wandb
how = {"project": "mine", "group": "g", "reinit": "create_new"}
whole = wandb.init(id="whole-1", job_type="train", **how)
stage = wandb.init(id="stage-1", job_type="stage", resume="allow", **how)
assert wandb.run is None and whole.id == "whole-1" and stage.id == "stage-1"
for run in (whole, stage):
    run.define_metric("at")
    run.define_metric("*", step_metric="at", step_sync=True)
stage.log({"x": 1.0, "at": 5})
stage.log({"y": 2.0, "at": 3})  # of an earlier point: a resumed run goes back
stage.finish(exit_code=1)
whole.log({"x": 3.0})
whole.finish(exit_code=0)
"""
    assert printed(code, tmp_path, WANDB_MODE="offline") == ""
    whole, stage = sorted(wandb_files(tmp_path / "wandb"), key=lambda file: file.job, reverse=True)
    assert (whole.id, stage.id, whole.group, stage.group) == ("whole-1", "stage-1", "g", "g")
    assert stage.points("x", "at") == [(5, 1.0)] and stage.points("y", "at") == [(3, 2.0)]
    assert [row["x"] for row in whole.history] == [3.0]
    assert (whole.exit_code, stage.exit_code) == (0, 1)


def test_tensorboard_drops_what_is_sent_anew(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    for first, steps in ((0, range(4)), (2, range(2, 6))):
        writer = SummaryWriter(str(tmp_path), purge_step=first)
        for step in steps:
            writer.add_scalar("x", step + 10 * first, step)
        writer.close()
    assert scalars(tmp_path, "x") == [(0, 0), (1, 1), (2, 22), (3, 23), (4, 24), (5, 25)]


def test_trackio_prints_and_ends_the_run_that_its_context_knows(tmp_path: Path) -> None:
    """Why `open_run` gives `init` a context of its own, and takes its standard output away."""
    pytest.importorskip("trackio")
    code = """
import contextvars, json, trackio
from trackio.sqlite_storage import SQLiteStorage as storage
def begun(name, resume):
    make = lambda: trackio.init(project="mine", name=name, resume=resume, embed=False)
    return contextvars.copy_context().run(make)
whole, stage = begun("whole", "never"), begun("stage", "never")
assert trackio.context_vars.current_run.get() is None
whole.log({"x": 1.0}, step=0)
stage.log({"x": 2.0}, step=7)
whole.finish(), stage.finish()
other = begun("stage", "never")  # another run of the same name
other.log({"x": 3.0}, step=1)
other.finish()
again = begun("stage", "allow")
assert again.id == other.id != stage.id  # the newest of that name
again.log({"x": 4.0}, step=2)
again.finish()
rows = [storage.get_logs("mine", "whole"), storage.get_logs("mine", "stage", run_id=other.id)]
print("ROWS", json.dumps([[(row["step"], row["x"]) for row in run] for run in rows]))
"""
    *words, rows = printed(code, tmp_path).splitlines()
    assert "* Created new run: whole" in words
    assert json.loads(rows.removeprefix("ROWS ")) == [[[0, 1.0]], [[1, 3.0], [2, 4.0]]]
