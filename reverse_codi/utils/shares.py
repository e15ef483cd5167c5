"""Intervals of shares: Wilson's score interval (1927), with an effective number of problems.

A bootstrap resamples what was seen, so a share of 0 or 1 gets no width at all, and one near them too little:
docs/evaluation.md has the coverage of both. Wilson's interval is of independent rows. Several rows a problem
are worth between as many rows and one a problem; the design effect says how many (Kish 1965; Dean and Pagano
2015, "Evaluating confidence interval methods for binomial proportions in clustered surveys").

Shapes: P problems.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from reverse_codi.utils.bootstrap import Floats, Interval

Z = NormalDist().inv_cdf(0.975)
# Where all rows agree there is nothing to estimate the design effect from, and with few exceptions hardly
# anything: it is drawn to its worst case, one row a problem, with the weight of so many problems. Of 0, 2, 4
# and 10, 2 is the least that keeps the coverage at several rows a problem as good as at one.
PRIOR_PROBLEMS = 2.0


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % score interval of a share of `n` independent rows; `n` need not be whole.

    >>> [round(bound, 4) for bound in wilson(81 / 263, 263)]  # Newcombe 1998, table I
    [0.2553, 0.3662]
    """
    centre = share + Z**2 / (2 * n)
    half = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    low, high = (centre - half) / (1 + Z**2 / n), (centre + half) / (1 + Z**2 / n)
    return 0.0 if share <= 0 else low, 1.0 if share >= 1 else high  # but for rounding


def effective_n(table: Floats) -> float:
    """How many independent rows `table` [P, 2] (sum, weight) is worth.

    Rows of one problem that always agree count once (Kish's n for unequal weights). The residuals' variance
    over that of such rows says how far they agree.
    """
    part, whole = table.T
    share = part.sum() / whole.sum()
    dependent = whole.sum() ** 2 / np.square(whole).sum()
    worst = share * (1 - share) * np.square(whole).sum()
    agreeing = np.square(part - share * whole).sum() / worst if worst > 0 else 1.0
    exceptions = min((part < whole).sum(), (part > 0).sum())
    drawn = (exceptions * agreeing + PRIOR_PROBLEMS) / (exceptions + PRIOR_PROBLEMS)
    return float(dependent / drawn)


def share_of(table: Floats) -> Interval:
    """Sum of column 0 / sum of column 1 of `table` [P, 2], with its interval.

    Raises:
        ValueError: a part is less than nothing or more than its whole.
    """
    part, whole = table.T
    if not bool(((part >= -1e-9) & (part <= whole + 1e-9)).all()):  # NaN is outside, too
        raise ValueError("a share's part lies outside its whole; take the bootstrap for what is no share")
    share = min(1.0, max(0.0, float(part.sum() / whole.sum())))
    return Interval(share, *wilson(share, effective_n(table)), len(table))
