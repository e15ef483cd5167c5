"""A run of Weights & Biases.

Runs are open side by side (`reinit="create_new"`): that of the whole training and that of the stage. W&B's
global run is not used, so integrations that rely on it do not see them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from reverse_codi.trackers.base import Number, Row, RunSpec, slug
from reverse_codi.trackers.wandb_server import go_offline, start_wandb


def open_run(spec: RunSpec) -> WandbRun:
    """Begin the run, or go on with it; offline where W&B cannot be used, see `start_wandb`."""
    start_wandb(spec.project)
    how: dict[str, Any] = {
        "id": spec.id,
        "name": spec.name,
        "group": os.environ.get("WANDB_RUN_GROUP", spec.group),
        "job_type": spec.job,
        "config": dict(spec.config),
        "dir": None if spec.files is None else str(spec.files),
        "reinit": "create_new",
    }
    if spec.again:
        how["resume"] = "allow"
    try:
        run = wandb.init(**how)
    except wandb.errors.CommError as error:  # the network went since it was asked
        go_offline(str(error).splitlines()[0])
        run = wandb.init(**how)
    run.define_metric(spec.axis)
    run.define_metric("*", step_metric=spec.axis, step_sync=True)
    return WandbRun(run, spec.axis)


class WandbRun:
    """An open run; see `base.Tracker`.

    Args:
        run: W&B's.
        axis: name of what steps count.
    """

    def __init__(self, run: wandb.Run, axis: str) -> None:
        self.run = run
        self.axis = axis

    def configure(self, values: Mapping[str, Any]) -> None:
        """Lay them over the run's config."""
        self.run.config.update(dict(values), allow_val_change=True)

    def log(self, figures: Mapping[str, Number], step: int | None) -> None:
        """One row of the run's history."""
        self.run.log({**figures} if step is None else {**figures, self.axis: step})

    def table(self, name: str, rows: Sequence[Row], step: int) -> None:
        """A table a step under one key, as TRL logs completions; the workspace steps through them."""
        columns = list(rows[0])
        data = [[row[column] for column in columns] for row in rows]
        table = wandb.Table(columns=[*columns], data=data)
        self.run.log({name: table, self.axis: step})

    def artifact(self, name: str, kind: str, paths: Sequence[Path]) -> None:
        """One version of an artifact."""
        artifact = wandb.Artifact(slug(name), type=kind)
        for path in paths:
            if path.is_dir():
                artifact.add_dir(str(path))
            else:
                artifact.add_file(str(path))
        self.run.log_artifact(artifact)

    def close(self, failed: bool) -> None:
        """W&B marks a run of another exit code than 0 as failed."""
        self.run.finish(exit_code=int(failed))
