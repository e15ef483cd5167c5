"""What a tracker is asked for, whichever it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Number = float | int
Row = Mapping[str, Any]
"""A row of a table: column -> a text, a number or None."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run of a tracker, as every tracker is given it.

    Attributes:
        project: what all runs of a user lie in.
        group: the training that the run is a part of.
        stage: what the run is, such as "warm start" or "03-distil".
        job: its kind, such as "distil".
        id: of the run, the same when it goes on.
        again: an earlier process began the run, and it goes on.
        first: the first step that is sent now; points of an earlier process from there on are void.
        out: folder of the training, or of the evaluation.
        files: where W&B keeps its files; `wandb/` in the working directory if None.
        axis: name of what steps count.
        config: the recipe.
    """

    project: str
    group: str
    stage: str
    job: str
    id: str
    again: bool
    first: int
    out: Path
    files: Path | None
    axis: str
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What users see in a list of runs."""
        return f"{self.group} {self.stage}"


class Tracker(Protocol):
    """An open run."""

    def configure(self, values: Mapping[str, Any]) -> None:
        """Keep settings beside those of the recipe."""
        ...

    def log(self, figures: Mapping[str, Number], step: int | None) -> None:
        """Send figures, for a point of a curve with its step."""
        ...

    def table(self, name: str, rows: Sequence[Row], step: int) -> None:
        """Send a table of a step; all rows have the same columns."""
        ...

    def artifact(self, name: str, kind: str, paths: Sequence[Path]) -> None:
        """Keep files, or all files of folders, under a name that has versions."""
        ...

    def close(self, failed: bool) -> None:
        """End the run; returns when everything is written or sent."""
        ...


def slug(text: str) -> str:
    """A text as a part of file names and ids.

    >>> slug("warm start")
    'warm-start'
    """
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-.") or "run"
