"""A run of TensorBoard: a folder of event files, `OUT/tensorboard/STAGE`.

TensorBoard shows each folder as a run and follows one event file at a time there. So one writer writes all
figures of a stage, the trainer's and ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

import yaml
from torch.utils.tensorboard import SummaryWriter

from reverse_codi.trackers.base import Number, Row, RunSpec, slug

FOLDER = "tensorboard"


def open_run(spec: RunSpec) -> TensorboardRun:
    """Begin the run, or go on with it: TensorBoard drops the points that are written anew."""
    folder = spec.out / FOLDER / slug(spec.stage)
    writer = SummaryWriter(str(folder), purge_step=spec.first)
    run = TensorboardRun(writer, spec.first)
    run.text("recipe", f"```yaml\n{yaml.safe_dump(dict(spec.config), sort_keys=False)}\n```", spec.first)
    return run


class TensorboardRun:
    """An open run; see `base.Tracker`.

    Args:
        writer: torch's.
        first: step of what has none of its own.
    """

    def __init__(self, writer: SummaryWriter, first: int) -> None:
        self.writer = writer
        self.first = first

    def text(self, name: str, markdown: str, step: int) -> None:
        """A text, shown as Markdown."""
        self.writer.add_text(name, markdown, step)
        self.writer.flush()

    def configure(self, values: Mapping[str, Any]) -> None:
        """A text for each entry."""
        for name, value in values.items():
            self.text(name, f"```\n{pformat(value)}\n```", self.first)

    def log(self, figures: Mapping[str, Number], step: int | None) -> None:
        """A point of each figure's curve."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, self.first if step is None else step)
        self.writer.flush()

    def table(self, name: str, rows: Sequence[Row], step: int) -> None:
        """A Markdown table."""
        columns = list(rows[0])
        lines = [columns, ["---"] * len(columns), *([_cell(row[c]) for c in columns] for row in rows)]
        self.text(name, "\n".join(f"| {' | '.join(line)} |" for line in lines), step)

    def artifact(self, name: str, kind: str, paths: Sequence[Path]) -> None:
        """TensorBoard keeps no files: a text says where they lie."""
        listed = "\n".join(f"- `{path.resolve()}`" for path in paths)
        self.text(f"artifacts/{name}", f"{kind}\n\n{listed}", self.first)

    def close(self, failed: bool) -> None:
        """End the event file."""
        self.writer.close()


def _cell(value: Any) -> str:
    """A value within a Markdown table."""
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    return shown.replace("|", "\\|").replace("\n", " ")
