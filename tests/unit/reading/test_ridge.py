from __future__ import annotations

import pytest
import torch

from reverse_codi.reading.ridge import _Features, _Rows, ridge

RNG = torch.Generator().manual_seed(0)


def centred(*shape: int) -> torch.Tensor:
    values = torch.randn(*shape, generator=RNG, dtype=torch.double)
    return values - values.mean(0)


def test_the_system_of_rows_and_that_of_features_give_the_same() -> None:
    x, y = centred(60, 50), centred(60, 3)
    by_rows = _Rows(x, torch.linalg.cholesky(x @ x.T + 0.7 * torch.eye(60)), 0.7).solve(y)
    by_features = _Features(x, torch.linalg.cholesky(x.T @ x + 0.7 * torch.eye(50)), 0.7).solve(y)
    torch.testing.assert_close(by_rows.weight, by_features.weight, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(by_rows.left_out, by_features.left_out, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("features", [10, 40])
def test_what_is_left_out_is_what_a_fit_without_the_row_misses(features: int) -> None:
    x, y = centred(30, features), centred(30, 2)
    [solved] = ridge(x, [y], [0.5])
    for row in (0, 17):
        others = [i for i in range(30) if i != row]
        mean, centre = x[others].mean(0), y[others].mean(0)
        z = x[others] - mean
        gram = z.T @ z + 0.5 * torch.eye(features)
        without = torch.linalg.solve(gram, z.T @ (y[others] - centre))
        torch.testing.assert_close(solved.left_out[row], y[row] - centre - (x[row] - mean) @ without)


@pytest.mark.parametrize("width", [20, 200])
def test_a_row_says_nothing_of_another_that_is_noise(width: int) -> None:
    """Also where features are more than rows, and the others' sum is the row: all are centred."""
    x, y = centred(100, width), centred(100, 3)
    [solved] = ridge(x, [y], [1e-3])
    assert solved.left_out.square().mean() > y.square().mean()


def test_each_target_takes_the_penalty_that_errs_least_on_rows_that_are_left_out() -> None:
    x = centred(60, 50)
    signal = x @ torch.randn(50, 4, generator=RNG, dtype=torch.double)
    quiet, loud = signal + 0.01 * centred(60, 4), signal + 300 * centred(60, 4)
    penalties = [0.1, 1.0, 1e4]
    found = ridge(x, [quiet, loud], penalties)
    for solved, y, penalty in zip(found, (quiet, loud), (0.1, 1e4), strict=True):
        [wanted] = ridge(x, [y], [penalty])
        torch.testing.assert_close(solved.weight, wanted.weight)
