"""From values a thought to figures with intervals: problems are resampled, never single thoughts.

Shapes: N values, P problems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from reverse_codi.utils.bootstrap import Floats, Interval, interval
from reverse_codi.utils.shares import share_of, wilson

Figures = dict[str, Interval]
"""Flat key -> figure."""

METRICS_FILE = "metrics.json"
"""Where an evaluation keeps its figures."""

# Intervals are of a table of some hundred problems: their second digit is steady from here on.
RESAMPLES = 500
NOTHING = Interval(float("nan"), float("nan"), float("nan"), 0)
"""The figure of nothing that could be counted."""


def nothing(reason: str) -> Interval:
    """The figure of nothing that could be counted, with the reason why."""
    return replace(NOTHING, reason=reason)


def ratio(rows: Floats) -> float:
    """Sum of column 0 / sum of column 1."""
    return float(rows[:, 0].sum() / rows[:, 1].sum())


def sums(columns: Sequence[ArrayLike | Tensor], problems: Sequence[int]) -> Floats:
    """Columns of N values, summed over each problem's: [P, columns]."""
    _, index = np.unique(np.asarray(problems), return_inverse=True)
    table: Floats = np.stack(
        [np.bincount(index, weights=np.asarray(column, dtype=np.float64)) for column in columns], axis=1
    )
    return table


def share(
    part: ArrayLike | Tensor, problems: Sequence[int], whole: ArrayLike | Tensor | None = None
) -> Interval:
    """Mean of N values from 0 to 1, or of parts of wholes, by Wilson; NaN, over no problem, if there is none.

    Raises:
        ValueError: a value is outside.
    """
    table = _counted(part, np.ones(len(problems)) if whole is None else whole, problems)
    return share_of(table) if len(table) else NOTHING


def change(
    before: ArrayLike | Tensor, after: ArrayLike | Tensor, problems: Sequence[int], span: float = 1.0
) -> Interval:
    """Mean of `after` - `before` [N], paired bootstrap by problem.

    Where no value changes, resampling would say that none ever does. The share of problems that change is
    then 0, of which Wilson's interval has an upper bound, and no change is greater than `span`: the product
    is the interval's end on either side.

    Args:
        before: N values.
        after: N values of the same thoughts.
        problems: the problem of each.
        span: greatest value less the least one.
    """
    moved = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    if len(moved) and not moved.any():
        n = len(set(problems))
        bound = span * wilson(0.0, n)[1]
        return Interval(0.0, -bound, bound, n)
    return mean(moved, problems)


def mean(values: ArrayLike | Tensor, problems: Sequence[int]) -> Interval:
    """Mean of N values of any size, by bootstrap; NaN, over no problem, where there are none."""
    return over(values, np.ones(len(problems)), problems)


def over(
    part: ArrayLike | Tensor,
    whole: ArrayLike | Tensor,
    problems: Sequence[int],
    statistic: Callable[[Floats], float] = ratio,
) -> Interval:
    """`statistic` of two columns of N values, summed by problem, by bootstrap; NaN where there are none."""
    table = _counted(part, whole, problems)
    return interval(table, statistic, resamples=RESAMPLES) if len(table) else NOTHING


def _counted(part: ArrayLike | Tensor, whole: ArrayLike | Tensor, problems: Sequence[int]) -> Floats:
    table = sums([part, whole], problems) if len(problems) else np.zeros((0, 2))
    return table[table[:, 1] != 0]  # a problem with nothing to count is none of the figure's n


def flags(values: Sequence[bool]) -> Tensor:
    """Truth values as 0 and 1."""
    return torch.tensor(values, dtype=torch.float64)
