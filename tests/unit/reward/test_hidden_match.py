from __future__ import annotations

import math

import pytest
import torch

from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.sites import Site
from reverse_codi.rewards.batch import RewardBatch
from reward.hidden_match import BEST_LOG, WORST, HiddenMatch, Metric, hidden_match
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
    return make_batch(rows, ThoughtMetric(TableReader(READS), {SITE: fitted}))


def test_whitened_is_sensitive_to_the_quiet_direction(batch: RewardBatch) -> None:
    # d(thought, mean) = 2^2 / 2; "loud" errs by 1, "quiet" by 1 x 10
    assert hidden_match(batch, HiddenMatch()) == pytest.approx([1.0, 0.0, 1 - 1 / 4, WORST, WORST])


def test_mse_is_sensitive_to_both_alike(batch: RewardBatch) -> None:
    values = hidden_match(batch, HiddenMatch(metric=Metric.MSE))
    assert values == pytest.approx([1.0, 0.0, 1 - 1 / 4, 1 - 1 / 4, WORST])


def test_centred_cosine_is_not_sensitive_to_size(batch: RewardBatch) -> None:
    values = hidden_match(batch, HiddenMatch(metric=Metric.CENTRED_COSINE))
    assert values == pytest.approx([1.0, 0.0, 1.0, 2 / 5**0.5, -91 / (91**2 + 89**2) ** 0.5])


def test_an_unrelated_thoughts_own_text_scores_about_minus_one() -> None:
    draws = torch.randn(2, 2000, 64, generator=torch.Generator().manual_seed(0))
    fitted = AffineMap(torch.eye(64), torch.zeros(64), torch.zeros(64), torch.eye(64), torch.zeros(0, 64))
    assert fitted.match(draws[0], draws[1]).mean().item() == pytest.approx(-1.0, abs=0.1)


def one_batch(
    reads: dict[str, list[float]], thought: list[float], references: list[list[float]]
) -> RewardBatch:
    fitted = AffineMap(torch.eye(2), torch.zeros(2), MEAN, torch.eye(2), torch.tensor(references))
    rows = make_rows(list(reads), torch.tensor([thought] * len(reads)), SITE)
    return make_batch(rows, ThoughtMetric(TableReader(reads), {SITE: fitted}))


def test_neg_log_mse_counts_halvings_and_is_clipped_at_both_ends(batch: RewardBatch) -> None:
    values = hidden_match(batch, HiddenMatch(metric=Metric.NEG_LOG_MSE))
    # the mean errs by 2^2; "loud" and "quiet" by 1
    assert values == pytest.approx([BEST_LOG, 0.0, math.log(4), math.log(4), WORST])


def test_smooth_l1_is_squared_below_one_deviation_and_straight_above() -> None:
    # The references' four entries, -1, 1, 3, 5, have mean 2 and standard deviation sqrt(20 / 3).
    std = (20 / 3) ** 0.5
    mean, thought = MEAN.tolist(), [1 + 2 * std, 1.0]
    reads = {
        "perfect": thought,
        "mean": mean,
        "half": [1 + 1.5 * std, 1.0],
        "one": [1 + std, 1.0],
        "off": [1 + 2 * std, 1 + 3 * std],
        "wild": [-90.0, 90.0],
    }
    batch = one_batch(reads, thought, [[-1.0, 5.0], [1.0, 3.0]])
    # SmoothL1 of 2 deviations is 2 - .5, of half of one .5^2 / 2, of one .5, of three 2.5
    expected = [1.0, 0.0, 1 - 0.125 / 1.5, 1 - 0.5 / 1.5, 1 - 2.5 / 1.5, WORST]
    assert hidden_match(batch, HiddenMatch(metric=Metric.SMOOTH_L1)) == pytest.approx(expected)


def test_smooth_l1_is_less_swayed_by_one_loud_direction_than_mse() -> None:
    # Each text halves the mean's error in one direction; the loud one is nearly all of the squared distance.
    reads = {"loud": [6.0, 1.0], "quiet": [1.0, 2.0]}
    batch = one_batch(reads, [11.0, 3.0], [[0.0, 1.0], [2.0, 1.0]])

    def advantage(metric: Metric) -> float:
        loud, quiet = hidden_match(batch, HiddenMatch(metric=metric))
        assert loud is not None and quiet is not None
        return loud - quiet

    assert advantage(Metric.MSE) > advantage(Metric.SMOOTH_L1) > 0


@pytest.mark.parametrize("metric", list(Metric))
def test_every_metric_falls_from_the_thought_to_the_mean_to_its_opposite(metric: Metric) -> None:
    reads = {"thought": [3.0, 1.0], "near": [2.5, 1.2], "mean": [1.0, 1.0], "opposite": [-1.0, 1.0]}
    batch = one_batch(reads, [3.0, 1.0], [[-1.0, 5.0], [1.0, 3.0]])
    thought, near, mean, opposite = hidden_match(batch, HiddenMatch(metric=metric))
    assert thought is not None and near is not None and mean is not None and opposite is not None
    assert thought > near > mean > opposite
    assert mean == pytest.approx(0.0)
