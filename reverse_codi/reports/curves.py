"""Curves of a run: what its files say, as series of numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reverse_codi.training.curves import Point
from reverse_codi.training.records import HELDOUT
from reverse_codi.utils.json_files import object_lines

PHASES = "seconds/"
"""Begins the names of the seconds of each phase of a step."""


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        name: what it shows.
        x: where.
        y: as many values, None where there is none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]


@dataclass(frozen=True)
class Curves:
    """Lines over one axis.

    Attributes:
        title: what they show.
        across: what x is.
        series: the lines.
    """

    title: str
    across: str
    series: Sequence[Series]


# Title -> figures of metrics.jsonl; a name that ends in "/" stands for all means whose names begin so.
TRAINING: Mapping[str, Sequence[str]] = {
    "Reward": ("reward", "rewards/"),
    "Match and variety of sampled texts": ("rollout/match", "rollout/distinct", "rollout/failed"),
    "Groups without a signal": ("frac_reward_zero_std",),
    "KL to the policy before": ("kl",),
    "Entropy": ("entropy",),
    "Tokens a text": ("completions/mean_length", "completions/max_length"),
    "Loss": ("loss",),
    "Trainer and engine apart (canary)": ("sync/canary",),
}


def json_lines(file: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines; the last one is left out where a run is still writing it."""
    if not file.is_file():
        return []
    return list(object_lines(file))


def heldout_curve(records: Iterable[Mapping[str, Any]]) -> Curves | None:
    """Held-out figures by step, of the lines of metrics.jsonl; None without any."""
    rows = [record for record in records if any(key.startswith(HELDOUT) for key in record)]
    names = dict.fromkeys(key for row in rows for key in row if key.startswith(HELDOUT))
    return _curves("Held-out thoughts", rows, names, HELDOUT)


def training_curves(records: Sequence[Mapping[str, Any]]) -> list[Curves]:
    """What TRL and the rollouts log, by step; a figure that no line has is left out."""
    rows = [record for record in records if "loss" in record]
    known = list(dict.fromkeys(key for row in rows for key in row))
    found = []
    for title, wanted in TRAINING.items():
        names = [
            key
            for name in wanted
            for key in known
            if key == name or (name.endswith("/") and key.startswith(name) and key.endswith("/mean"))
        ]
        curves = _curves(title, rows, names, "")
        found += [curves] if curves else []
    return found


def phase_seconds(records: Iterable[Mapping[str, Any]]) -> Curves | None:
    """The seconds of each phase, by step; None where none was logged."""
    rows = [record for record in records if any(key.startswith(PHASES) for key in record)]
    names = dict.fromkeys(key for row in rows for key in row if key.startswith(PHASES))
    return _curves("Seconds a step", rows, names, PHASES)


def csv_curve(file: Path, title: str) -> Curves | None:
    """The held-out figures of a supervised training (warm_curve.csv), by step; None without the file."""
    if not file.is_file():
        return None
    with file.open(encoding="utf-8") as lines:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(lines)]
    names = [
        key for key in dict.fromkeys(key for row in rows for key in row) if key not in ("step", "seconds")
    ]
    return _curves(title, rows, names, "")


def stage_curve(points: Sequence[Point]) -> Curves | None:
    """Held-out figures of all stages, by the texts sampled so far; None without any."""
    names = list(dict.fromkeys(name for point in points for name in point.figures))
    if not names:
        return None
    x = [float(point.texts) for point in points]
    series = [Series(name, x, [point.figures.get(name) for point in points]) for name in names]
    return Curves("Held-out thoughts over all stages", "texts sampled", series)


def _curves(
    title: str, rows: Sequence[Mapping[str, Any]], names: Iterable[str], prefix: str
) -> Curves | None:
    x = [float(row["step"]) for row in rows]
    series = [Series(_short(name.removeprefix(prefix)), x, [row.get(name) for row in rows]) for name in names]
    return Curves(title, "step", series) if series else None


def _short(name: str) -> str:
    """A figure's name without what its title says.

    >>> _short("rewards/brevity/mean"), _short("completions/mean_length"), _short("reward")
    ('brevity', 'mean_length', 'reward')
    """
    name = name.removesuffix("/mean").removeprefix("rewards/").removeprefix("rollout/")
    return name.removeprefix("completions/").removeprefix("sync/")
