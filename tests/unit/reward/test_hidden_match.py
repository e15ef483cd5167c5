from __future__ import annotations

import pytest
import torch

from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.measure import Measure
from reverse_codi.rewarding import RewardBatch
from reverse_codi.sites import Site
from reward.hidden_match import WORST, HiddenMatch, Metric, hidden_match
from tests.tiny import TableReader, make_batch, make_rows

SITE = Site("h", 1)
MEAN = torch.tensor([1.0, 1.0])
THOUGHT = [3.0, 1.0]
# The first direction's residual is 10 times as wide as the second's.
READS = {
    "perfect": THOUGHT,
    "mean": [1.0, 1.0],
    "loud": [2.0, 1.0],
    "quiet": [3.0, 2.0],
    "wild": [-90.0, 90.0],
}


@pytest.fixture
def batch() -> RewardBatch:
    fitted = AffineMap(
        torch.eye(2), torch.zeros(2), MEAN, torch.diag(torch.tensor([1.0, 10.0])), torch.zeros(0, 2)
    )
    rows = make_rows(list(READS), torch.tensor([THOUGHT] * len(READS)), SITE)
    return make_batch(rows, Measure(TableReader(READS), {SITE: fitted}))


def test_whitened_hears_the_quiet_direction(batch: RewardBatch) -> None:
    # d(thought, mean) = 2^2 / 2; "loud" errs by 1, "quiet" by 1 x 10
    assert hidden_match(batch, HiddenMatch()) == pytest.approx([1.0, 0.0, 1 - 1 / 4, WORST, WORST])


def test_mse_hears_both_alike(batch: RewardBatch) -> None:
    values = hidden_match(batch, HiddenMatch(metric=Metric.MSE))
    assert values == pytest.approx([1.0, 0.0, 1 - 1 / 4, 1 - 1 / 4, WORST])


def test_centred_cosine_hears_no_size(batch: RewardBatch) -> None:
    values = hidden_match(batch, HiddenMatch(metric=Metric.CENTRED_COSINE))
    assert values == pytest.approx([1.0, 0.0, 1.0, 2 / 5**0.5, -91 / (91**2 + 89**2) ** 0.5])


def test_an_unrelated_thoughts_own_text_scores_about_minus_one() -> None:
    draws = torch.randn(2, 2000, 64, generator=torch.Generator().manual_seed(0))
    fitted = AffineMap(torch.eye(64), torch.zeros(64), torch.zeros(64), torch.eye(64), torch.zeros(0, 64))
    assert fitted.match(draws[0], draws[1]).mean().item() == pytest.approx(-1.0, abs=0.1)
