from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from reverse_codi.utils import figures
from reverse_codi.utils.bootstrap import explained


def test_a_mean_is_over_values_and_counts_problems() -> None:
    found = figures.mean([1.0, 0.0, 1.0, 1.0], [7, 7, 3, 9])
    assert found.value == 0.75  # not the mean of the problems' means, .83
    assert found.n == 3
    assert found.low <= 0.75 <= found.high


def test_a_share_of_all_has_an_interval_below_it() -> None:
    found = figures.share(torch.ones(5), range(5))
    assert (found.value, found.high, found.n) == (1.0, 1.0, 5)
    assert found.low == pytest.approx(5 / (5 + 1.959964**2))


def test_a_share_may_have_weights_and_leaves_out_what_has_none() -> None:
    found = figures.share([1.0, 0.0, 2.0], [0, 1, 2], [2.0, 0.0, 2.0])
    assert (found.value, found.n) == (0.75, 2)
    assert figures.share([], []).n == figures.share([0.0], [3], [0.0]).n == 0
    with pytest.raises(ValueError, match="outside its whole"):
        figures.share([-1.0, 1.0], [0, 1])


def test_a_change_is_paired_and_where_nothing_changes_something_still_may() -> None:
    before, after = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 1.0, 1.0])
    change = figures.change(before, after, [0, 0, 1])
    assert change.value == pytest.approx(2 / 3) and change.n == 2
    assert (change.low, change.high) == (0.0, 1.0)  # two problems: one changed, one did not
    none = figures.change(after, after, [0, 0, 1], span=3.0)
    bound = 3 * 1.959964**2 / (2 + 1.959964**2)
    assert (none.value, none.low, none.high, none.n) == (0.0, pytest.approx(-bound), pytest.approx(bound), 2)
    assert figures.change([], [], []).n == 0


def test_a_ratio_is_of_sums() -> None:
    assert figures.over([1.0, 3.0], [2.0, 10.0], [0, 1]).value == pytest.approx(4 / 12)
    match = figures.over([1.0, 3.0], [2.0, 10.0], [0, 1], explained)
    assert match.value == pytest.approx(8 / 12)


def test_problems_are_resampled_and_not_their_thoughts() -> None:
    """Ten thoughts a problem that all agree are worth one, so the interval is as wide as without them."""
    ones, tens = [0.0, 1.0, 1.0, 0.0], [0.0] * 10 + [1.0] * 20 + [0.0] * 10
    of_ten = [row // 10 for row in range(40)]
    one, ten = figures.mean(ones, range(4)), figures.mean(tens, of_ten)
    assert (one.value, one.low, one.high, one.n) == (ten.value, ten.low, ten.high, ten.n)
    assert ten.high - ten.low >= 0.5


def test_a_problem_without_weight_is_not_counted() -> None:
    found = figures.over([1.0, 0.0, 1.0], [2.0, 0.0, 2.0], [0, 1, 2])
    assert (found.value, found.n) == (0.5, 2)
    with_other_thought = figures.over([1.0, 0.0, 1.0], [2.0, 0.0, 2.0], [0, 0, 2])
    assert (with_other_thought.value, with_other_thought.n) == (0.5, 2)


@pytest.mark.parametrize("rows", [[], [4, 5]])
def test_where_nothing_is_counted_there_is_no_figure(rows: list[int]) -> None:
    found = figures.over([1.0] * len(rows), [0.0] * len(rows), rows)
    assert found.n == 0
    assert all(map(math.isnan, (found.value, found.low, found.high)))
    assert figures.mean([], []).n == 0


def test_intervals_are_the_same_every_time() -> None:
    values = torch.rand(50, generator=torch.Generator().manual_seed(0))
    assert figures.mean(values, range(50)) == figures.mean(values.tolist(), range(50))


def test_sums_are_by_problem_in_order_of_their_numbers() -> None:
    table = figures.sums([[1.0, 2.0, 4.0], np.ones(3)], [9, 2, 9])
    assert table.tolist() == [[2.0, 1.0], [5.0, 2.0]]


def test_flags_are_zero_and_one() -> None:
    assert figures.flags([True, False]).tolist() == [1.0, 0.0]
