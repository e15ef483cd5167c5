from __future__ import annotations

import pytest
import torch

from reverse_codi.evaluation.metrics.geometry import centred_cosine, mean_fve, site_table, squared_errors
from reverse_codi.reasoners.sites import Site
from reverse_codi.utils.bootstrap import interval

A, B = Site("h", 2), Site("h", 2, 1)
MEANS = torch.tensor([[10.0, 0], [10, 0], [0, 100], [0, 100]])
THOUGHTS = torch.tensor([[11.0, 0], [9, 0], [0, 104], [3, 100]])
SITES = [A, A, B, B]


def test_centred_cosine() -> None:
    predicted = torch.tensor([[12.0, 0], [12, 0], [0, 100], [4, 104]])
    cosine = centred_cosine(THOUGHTS, predicted, MEANS)
    # same direction, opposite, the mean itself, 45 degrees
    assert cosine.tolist() == pytest.approx([1, -1, 0, 2**-0.5])


def test_a_shared_direction_is_no_agreement() -> None:
    constant = MEANS + torch.tensor([0.01, 0])
    assert torch.cosine_similarity(THOUGHTS, constant).min() > 0.99
    assert abs(float(centred_cosine(THOUGHTS, constant, MEANS)[:2].mean())) < 1e-6


def test_squared_errors() -> None:
    errors, totals = squared_errors(THOUGHTS, THOUGHTS + torch.tensor([1.0, 2.0]), MEANS)
    assert errors.tolist() == [5, 5, 5, 5]
    assert totals.tolist() == [1, 1, 16, 9]


def _fve(errors: torch.Tensor, totals: torch.Tensor, sites: list[Site]) -> float:
    return mean_fve(site_table(errors, totals, sites, range(len(sites))))


def test_fve() -> None:
    errors, totals = torch.tensor([0.5, 0.5, 25, 25]), torch.tensor([1.0, 1, 16, 9])
    assert _fve(errors[:2], totals[:2], [A, A]) == 0.5 and _fve(errors[2:], totals[2:], [B, B]) == -1
    assert _fve(errors, totals, SITES) == -0.25
    # Sites weigh the same: scaling one's vectors changes nothing.
    scale = torch.tensor([1.0, 1, 1000, 1000])
    assert _fve(errors * scale, totals * scale, SITES) == -0.25


def test_a_constant_for_each_site_explains_nothing() -> None:
    errors, totals = squared_errors(THOUGHTS, MEANS, MEANS)
    assert _fve(errors, totals, SITES) == 0
    # Against one mean of all sites the same constants would explain nearly everything.
    _, from_global = squared_errors(THOUGHTS, THOUGHTS, THOUGHTS.mean(0).expand(4, 2))
    assert 1 - errors.sum() / from_global.sum() > 0.99


def test_site_table_is_resampled_by_problem() -> None:
    errors, totals = torch.tensor([0.5, 0.5, 25, 25]), torch.tensor([1.0, 1, 16, 9])
    table = site_table(errors, totals, SITES, [7, 3, 7, 3])
    assert table.tolist() == [[0.5, 25, 1, 9], [0.5, 25, 1, 16]]
    figure = interval(table, mean_fve, resamples=50)
    assert figure.value == _fve(errors, totals, SITES) == -0.25
    # problem 3 alone: (0.5 + 1 - 25 / 9) / 2, problem 7 alone: (0.5 + 1 - 25 / 16) / 2
    assert (figure.low, figure.high) == pytest.approx(((1.5 - 25 / 9) / 2, (1.5 - 25 / 16) / 2))
