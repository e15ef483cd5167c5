"""A run of trackio: a local database, or a Space of the user's (`TRACKIO_SPACE_ID`)."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import trackio
from trackio.run import Run

from reverse_codi.storage.files import nulled
from reverse_codi.trackers.base import Number, Row, RunSpec, slug


def open_run(spec: RunSpec) -> TrackioRun:
    """Begin the run, or go on with the newest one of its name."""
    init = partial(
        trackio.init,
        project=spec.project,
        name=spec.name,
        group=spec.group,
        config=dict(spec.config),
        resume="allow" if spec.again else "never",
        embed=False,
    )
    with redirect_stdout(sys.stderr):  # it prints what it does, and ours may hold a result
        # `init` ends the run that its context knows; another one may be open beside this.
        return TrackioRun(contextvars.copy_context().run(init))


class TrackioRun:
    """An open run; see `base.Tracker`.

    Args:
        run: trackio's.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def configure(self, values: Mapping[str, Any]) -> None:
        """Lay them over the run's config, which is kept with its first figures."""
        self.run.config.update(values)

    def log(self, figures: Mapping[str, Number], step: int | None) -> None:
        """Figures of a step; the next one where none is given."""
        self.run.log(nulled(figures), step=step)

    def table(self, name: str, rows: Sequence[Row], step: int) -> None:
        """A table of a step."""
        columns = list(rows[0])
        table = trackio.Table(columns=columns, data=[[row[column] for column in columns] for row in rows])
        self.run.log({name: table}, step=step)

    def artifact(self, name: str, kind: str, paths: Sequence[Path]) -> None:
        """One version of an artifact."""
        artifact = trackio.Artifact(slug(name), type=kind)
        for path in paths:
            if path.is_dir():
                artifact.add_dir(path)
            else:
                artifact.add_file(path)
        self.run.log_artifact(artifact)

    def close(self, failed: bool) -> None:
        """Wait until all is written."""
        with redirect_stdout(sys.stderr):
            self.run.finish()
