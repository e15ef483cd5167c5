from __future__ import annotations

import numpy as np
import pytest

from reverse_codi.utils.bootstrap import explained, interval


def test_a_table_without_variance_has_no_width() -> None:
    figure = interval(np.full((10, 1), 0.25))
    assert (figure.value, figure.low, figure.high, figure.n) == (0.25, 0.25, 0.25, 10)
    assert str(figure) == "0.250 [0.250, 0.250]"


def test_explained_is_a_ratio_of_sums() -> None:
    table = np.array([[1.0, 4.0], [2.0, 2.0]])
    assert explained(table) == 1 - 3 / 6
    assert interval(table, explained).value == 0.5


def test_the_width_is_the_standard_errors() -> None:
    rows = np.random.default_rng(0).normal(size=(400, 1))
    figure = interval(rows, resamples=2000)
    error = rows.std() / 20
    assert figure.low == pytest.approx(rows.mean() - 1.96 * error, abs=0.2 * error)
    assert figure.high == pytest.approx(rows.mean() + 1.96 * error, abs=0.2 * error)


def test_it_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        figure = interval(rng.normal(loc=0.3, size=(60, 1)), resamples=200, seed=seed)
        covered += figure.low <= 0.3 <= figure.high
    assert 180 <= covered <= 199


def test_one_column_may_be_flat_and_a_seed_fixes_it() -> None:
    values = np.arange(10.0)
    assert interval(values) == interval(values[:, None])
    assert interval(values).n == 10
