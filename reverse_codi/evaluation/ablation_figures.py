"""Figures of a row that its training run found: the last on held-out thoughts, texts sampled, seconds."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reverse_codi.storage.json_lines import json_lines
from reverse_codi.training.records import COMPLETIONS, HELDOUT, METRICS, STAGES, WARM_CURVE

Figures = Mapping[str, Mapping[str, Any]]
"""Name -> value with the ends of its interval, None where there is none."""

SHOWN = ("match", "retrieval", "result", "claim", "operation", "distinct")
RUN_FIGURES = (*(f"heldout.{name}" for name in SHOWN), "texts", "seconds")


def run_figures(train: Path) -> dict[str, dict[str, Any]]:
    """The last held-out figures of a run, the texts that it sampled and the seconds of its steps.

    Args:
        train: the run's folder. Stages write into `stages.jsonl`, GRPO alone into `metrics.jsonl`, the warm
            start into `warm_curve.csv`.
    """
    if (train / STAGES).is_file():
        lines = list(json_lines(train / STAGES))
        found = _heldout(lines) | {name: float(lines[-1][f"total/{name}"]) for name in ("texts", "seconds")}
    elif (train / METRICS).is_file():
        lines = list(json_lines(train / METRICS))
        with (train / COMPLETIONS).open() as file:
            texts = float(sum(1 for _ in file))
        found = _heldout(lines) | {
            "texts": texts,
            "seconds": sum(line.get("step_time", 0.0) for line in lines),
        }
    else:
        with (train / WARM_CURVE).open() as file:
            last = list(csv.DictReader(file))[-1]
        found = {f"heldout.{name}": float(last[name]) for name in SHOWN if name in last}
    return {name: _figure(value, None) for name, value in found.items()}


def _heldout(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    last = [line for line in lines if f"{HELDOUT}match" in line][-1]
    return {f"heldout.{name}": last[HELDOUT + name] for name in SHOWN if HELDOUT + name in last}


def averaged(runs: Sequence[Figures]) -> dict[str, dict[str, Any]]:
    """Means over the seeds of a row, and one standard deviation to either side where there are several.

    >>> one, other = ({"heldout.claim": {"value": value}} for value in (0.5, 0.6))
    >>> found = averaged([one, other])["heldout.claim"]
    >>> round(found["value"], 3), round(found["high"] - found["value"], 3), found["n"]
    (0.55, 0.071, 2)
    """
    columns = {name: [run[name]["value"] for run in runs] for name in runs[0]}
    return {
        name: _figure(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)
        | {"n": len(values)}
        for name, values in columns.items()
    }


def _figure(value: float, spread: float | None) -> dict[str, Any]:
    ends = {"low": None, "high": None} if spread is None else {"low": value - spread, "high": value + spread}
    return {"value": value, **ends}
