"""Shares near 0 and 1, of independent rows and of several a problem."""

from __future__ import annotations

import numpy as np
import pytest

from reverse_codi.utils.bootstrap import Floats, interval
from reverse_codi.utils.figures import ratio
from reverse_codi.utils.shares import effective_n, share_of, wilson

# 1,000 samples have a standard error of .007 where .95 are covered.
SAMPLES = 1000


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(right: int, n: int, low: float, high: float) -> None:
    """Newcombe 1998 (Statistics in Medicine 17), table I, method 3."""
    assert wilson(right / n, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    figure = share_of(np.array([[1.0, 1.0]] * right + [[0.0, 1.0]] * (n - right)))
    # A row a problem: nothing is estimated.
    assert (figure.low, figure.high) == pytest.approx(wilson(right / n, n))


def test_all_right_is_not_certain() -> None:
    one_row = share_of(np.ones((100, 2)))
    assert (one_row.value, one_row.high, one_row.n) == (1.0, 1.0, 100)
    assert one_row.low == pytest.approx(1 - 3.8415 / 103.8415, abs=1e-4)
    four_rows = share_of(np.full((100, 2), 4.0))
    assert four_rows == one_row  # four thoughts of a problem may be right or wrong together
    assert share_of(np.array([[0.0, 2.0]] * 30)).high == pytest.approx(3.8415 / 33.8415, abs=1e-4)


def test_rows_that_agree_count_once_and_independent_ones_each() -> None:
    together = np.array([[4.0, 4.0]] * 160 + [[0.0, 4.0]] * 40)
    assert effective_n(together) == pytest.approx(200)
    rng = np.random.default_rng(0)
    apart = np.stack([rng.binomial(4, 0.8, 200).astype(float), np.full(200, 4.0)], 1)
    assert 600 < effective_n(apart) < 1000  # 800 rows


def test_values_between_0_and_1_have_a_narrower_interval_than_flags() -> None:
    rng = np.random.default_rng(0)
    values = rng.beta(8, 2, 300)
    fractions = share_of(np.stack([values, np.ones(300)], 1))
    flags = share_of(np.stack([(rng.random(300) < values.mean()).astype(float), np.ones(300)], 1))
    assert fractions.high - fractions.low < 0.5 * (flags.high - flags.low)
    error = values.std() / np.sqrt(300)
    assert fractions.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)


def test_what_is_no_share_is_refused() -> None:
    for part in (-0.5, 1.5):
        with pytest.raises(ValueError, match="outside its whole"):
            share_of(np.array([[part, 1.0], [1.0, 1.0]]))


def simulated(rng: np.random.Generator, n: int, p: float, rows: int, agreement: float) -> Floats:
    """Right rows and rows of n problems with 1 to `rows` of them, whose correlation is `agreement`."""
    whole = rng.integers(1, rows + 1, n)
    of_problem = np.full(n, p)
    if agreement and p < 1:
        k = 1 / agreement - 1
        of_problem = rng.beta(p * k, (1 - p) * k, n)
    return np.stack([rng.binomial(whole, of_problem), whole], 1).astype(float)


@pytest.mark.parametrize(("rows", "agreement"), [(1, 0.0), (4, 0.0), (4, 0.3), (4, 0.7)])
@pytest.mark.parametrize("n", [30, 100, 300])
@pytest.mark.parametrize("p", [0.9, 0.95, 0.99, 1.0])
def test_it_covers_the_truth_near_1(rows: int, agreement: float, n: int, p: float) -> None:
    """Seed 0; docs/evaluation.md has the figures. Wilson's own interval dips to .92 at n 100, p .99."""
    rng = np.random.default_rng(0)
    found = [share_of(simulated(rng, n, p, rows, agreement)) for _ in range(SAMPLES)]
    covered = np.mean([figure.low <= p <= figure.high for figure in found])
    print(f"1 to {rows} rows a problem, agreement {agreement}, n {n}, p {p}: {covered:.3f} covered")
    assert covered >= 0.91
    mirrored = [(1 - f.high, 1 - f.low) for f in found]
    assert np.mean([low <= 1 - p <= high for low, high in mirrored]) == covered


@pytest.mark.parametrize(("n", "p", "most"), [(30, 0.95, 0.85), (30, 0.99, 0.4), (100, 0.99, 0.75)])
def test_the_bootstrap_does_not_cover(n: int, p: float, most: float) -> None:
    """Why shares have an interval of their own; seed 0."""
    rng = np.random.default_rng(0)
    drawn = [interval(simulated(rng, n, p, 1, 0.0), ratio, resamples=100) for _ in range(300)]
    covered = np.mean([figure.low <= p <= figure.high for figure in drawn])
    print(f"bootstrap, n {n}, p {p}: {covered:.3f} covered")
    assert covered < most
