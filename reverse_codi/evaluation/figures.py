"""From values a thought to figures with intervals: problems are resampled, never single thoughts.

Shapes: N values, P problems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from reverse_codi.evaluation.bootstrap import Floats, Interval, interval

Figures = dict[str, Interval]
"""Flat key -> figure."""

# Intervals are of a table of some hundred problems: their second digit is steady from here on.
RESAMPLES = 500


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


def mean(values: ArrayLike | Tensor, problems: Sequence[int]) -> Interval:
    """Mean of N values; NaN, over no problem, where there are none."""
    return over(values, np.ones(len(problems)), problems)


def over(
    part: ArrayLike | Tensor,
    whole: ArrayLike | Tensor,
    problems: Sequence[int],
    statistic: Callable[[Floats], float] = ratio,
) -> Interval:
    """`statistic` of two columns of N values, summed by problem; NaN where there are none."""
    table = sums([part, whole], problems) if len(problems) else np.zeros((0, 2))
    table = table[table[:, 1] != 0]  # a problem with nothing to count is none of the figure's n
    if not len(table):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    return interval(table, statistic, resamples=RESAMPLES)


def flags(values: Sequence[bool]) -> Tensor:
    """Truth values as 0 and 1."""
    return torch.tensor(values, dtype=torch.float64)
