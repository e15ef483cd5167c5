"""What a run's texts were worth while it learnt, against the texts that it sampled and its seconds."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reverse_codi.errors import UserError
from reverse_codi.storage.json_lines import json_lines
from reverse_codi.training.records import CURVE, HELDOUT, STAGES
from reverse_codi.training.stage_folders import REINFORCE


@dataclass(frozen=True)
class Point:
    """One evaluation of held-out thoughts.

    Attributes:
        stage: name of the stage, "00-warm" for the warm start.
        step: optimizer step within a distillation; None at the end of another stage.
        texts: sampled so far, by all stages.
        seconds: of all stages so far; None where an older run did not write them down.
        figures: name -> value.
    """

    stage: str
    step: int | None
    texts: int
    seconds: float | None
    figures: Mapping[str, float]


def points(run: Path) -> list[Point]:
    """Every evaluation of a run's stages, in order.

    Args:
        run: `train.out` of a run whose recipe lists stages.

    Raises:
        UserError: there is no `stages.jsonl`.
    """
    if not (run / STAGES).is_file():
        raise UserError(
            f"{run} has no {STAGES}; give the train.out of a run whose recipe lists stages (reinforce)"
        )
    found: list[Point] = []
    for line in json_lines(run / STAGES):
        texts, seconds = line["total/texts"], line["total/seconds"]
        curve = run / REINFORCE / line["stage"] / CURVE
        if curve.is_file():
            began = seconds - line["seconds"]
            found += [_within(line["stage"], row, texts, began) for row in _rows(curve)]
        elif figures := {
            key.removeprefix(HELDOUT): value for key, value in line.items() if key.startswith(HELDOUT)
        }:
            found.append(Point(line["stage"], None, texts, seconds, figures))
    return found


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open() as lines:
        return list(csv.DictReader(lines))


def _within(stage: str, row: dict[str, str], texts: int, began: float) -> Point:
    figures = {name: float(value) for name, value in row.items() if name not in ("step", "seconds")}
    seconds = began + float(row["seconds"]) if "seconds" in row else None
    return Point(stage, int(row["step"]), texts, seconds, figures)


def plot(runs: Mapping[str, Sequence[Point]], figures: Sequence[str]) -> dict[str, Any]:
    """A Plotly figure: each figure of each run, on the left against texts, on the right against seconds."""
    lines = []
    for run, of_run in runs.items():
        for name in figures:
            measured = [point for point in of_run if name in point.figures]
            for axis, across in (("", "texts"), ("2", "seconds")):
                there = [point for point in measured if getattr(point, across) is not None]
                lines.append(
                    {
                        "type": "scatter",
                        "mode": "lines+markers",
                        "name": f"{run}: {name}",
                        "legendgroup": f"{run}/{name}",
                        "showlegend": axis == "",
                        "x": [getattr(point, across) for point in there],
                        "y": [point.figures[name] for point in there],
                        "text": [_label(point) for point in there],
                        "xaxis": f"x{axis}",
                        "yaxis": f"y{axis}",
                    }
                )
    layout = {
        "title": {"text": "Held-out thoughts while the verbalizer learns"},
        "grid": {"rows": 1, "columns": 2, "pattern": "independent"},
        "xaxis": {"title": {"text": "texts sampled"}},
        "xaxis2": {"title": {"text": "seconds"}},
    }
    return {"data": lines, "layout": layout}


def _label(point: Point) -> str:
    return point.stage if point.step is None else f"{point.stage}, step {point.step:,}"
