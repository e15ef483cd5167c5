"""Two ways and more of doing the same work, timed in turns.

On a machine with other jobs a second is worth nothing, a ratio of two neighbouring runs is. So the sides take
turns, and a ratio is that of the runs of one turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from torch.profiler import ProfilerActivity, profile

RUNS = 5
MEMORY = "GiB"


@dataclass(frozen=True)
class Side:
    """One way of doing the work of a row.

    Attributes:
        name: of the way.
        run: does it once; returns how much was done (tokens, texts, questions), or None where its seconds
            count, or the seconds or memory that it found elsewhere.
    """

    name: str
    run: Callable[[], float | None]


@dataclass(frozen=True)
class Row:
    """What is compared.

    Attributes:
        name: of the row.
        unit: of the rates; "s" where seconds count, "GiB" where memory does.
        sides: the ways; the first is ours.
        ratios: key -> (side, side); how many times as fast the first is as the second, or how many
            times as much memory the second takes.
        figures: key -> side, whose own seconds or rates are a figure.
    """

    name: str
    unit: str
    sides: Sequence[Side]
    ratios: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Range:
    """Median and range of some runs."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Range:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        """Three significant digits."""
        return f"{self.median:,.3g} [{self.min:,.3g}, {self.max:,.3g}]"


@dataclass(frozen=True)
class Measured:
    """A row with what its sides took.

    Attributes:
        row: what was compared.
        speeds: side -> of each run the amount a second, or the seconds or GiB where those count.
    """

    row: Row
    speeds: Mapping[str, Sequence[float]]

    def figures(self) -> dict[str, Range]:
        """The row's ratios and figures."""
        faster = -1.0 if self.row.unit in ("s", MEMORY) else 1.0  # less is better
        found = {}
        for key, (one, other) in self.row.ratios.items():
            pairs = zip(self.speeds[one], self.speeds[other], strict=True)
            found[key] = Range.of([(a / b) ** faster for a, b in pairs])
        return found | {key: Range.of(self.speeds[side]) for key, side in self.row.figures.items()}


def measured(row: Row, runs: int = RUNS, warm_up: int = 1) -> Measured:
    """Time the sides of a row in turns; the order within a turn alternates."""
    speeds: dict[str, list[float]] = {side.name: [] for side in row.sides}
    for turn in range(warm_up + runs):
        for side in row.sides if turn % 2 else reversed(row.sides):
            began = time.perf_counter()
            amount = side.run()
            seconds = time.perf_counter() - began
            if turn >= warm_up:
                of_time = seconds if amount is None else amount / seconds
                found = amount is not None and row.unit in ("s", MEMORY)
                speeds[side.name].append(cast(float, amount) if found else of_time)
    return Measured(row, speeds)


def shares(row: Row, most: int = 8) -> list[tuple[str, float]]:
    """The torch operations that take most of our side's time in this process, with their shares of it."""
    ours = row.sides[0]
    ours.run()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        ours.run()
    taken = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    whole = sum(taken.values())
    largest = sorted(taken, key=taken.__getitem__, reverse=True)[:most]
    return [(name, taken[name] / whole) for name in largest]
