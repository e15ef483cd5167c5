"""Bootstrap intervals by problem (Efron 1979): problems are resampled, never single thoughts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], float]


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval over `n` problems: a share's by Wilson (`shares`), else a bootstrap.

    Where nothing could be counted, `n` is 0, the others are NaN, and `reason` says why.
    """

    value: float
    low: float
    high: float
    n: int
    reason: str = field(default="", compare=False)

    def __str__(self) -> str:
        """As ".85 [.83, .87]", or the reason why there is no figure."""
        if self.reason:
            return self.reason
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean(table: Floats) -> float:
    """Mean of the first column."""
    return float(table[:, 0].mean())


def explained(table: Floats) -> float:
    """1 - sum of column 0 / sum of column 1: `match` over many thoughts.

    A ratio of sums, not a mean of ratios: a thought that lies near the mean would otherwise weigh
    without bound.
    """
    return float(1 - table[:, 0].sum() / table[:, 1].sum())


def interval(table: Floats, statistic: Statistic = mean, *, resamples: int = 1000, seed: int = 0) -> Interval:
    """Bootstrap `statistic` over the rows of `table` [n problems, columns].

    For what is no share: a table of equal rows gets no width, whatever was not seen (`shares.share_of`).
    """
    rows = np.atleast_2d(table.T).T.astype(np.float64)
    rng = np.random.default_rng(seed)
    n = len(rows)
    draws = [statistic(rows[rng.integers(0, n, n)]) for _ in range(resamples)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(statistic(rows), float(low), float(high), n)
