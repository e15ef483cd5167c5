"""The map's axes and places."""

from __future__ import annotations

import math

import pytest
import torch

from reverse_codi.reasoners.sites import Site
from reverse_codi.reports.records import PointKind
from reverse_codi.reports.thought_map import Placed, thought_map

H = Site("h", 0)


def placed(*vectors: list[float], kind: PointKind = PointKind.THOUGHT) -> list[Placed]:
    return [
        Placed(kind, H, torch.tensor(vector, dtype=torch.float32), row, "text")
        for row, vector in enumerate(vectors)
    ]


def test_the_axes_are_the_directions_of_most_variance() -> None:
    # Of variance 2 * 9 along the third axis and 2 * 4 along the first; none along the second.
    found = thought_map(placed([2, 5, 0], [-2, 5, 0], [0, 5, 3], [0, 5, -3]))
    assert found is not None
    assert found.explained == pytest.approx((18 / 26, 8 / 26))
    assert [(round(p.x, 4), round(p.y, 4)) for p in found.points] == [(0, 2), (0, -2), (3, 0), (-3, 0)]


def test_texts_are_placed_and_do_not_turn_the_axes() -> None:
    own = placed([2, 5, 0], [-2, 5, 0], [0, 5, 3], [0, 5, -3])
    found = thought_map([*own, *placed([1, 900, 2], kind=PointKind.TEXT)])
    assert found is not None
    text = found.points[-1]
    assert text.kind is PointKind.TEXT and (text.x, text.y) == pytest.approx((2, 1), abs=1e-4)


def test_it_is_the_same_each_time_and_leaves_the_random_state_alone() -> None:
    vectors = placed(*torch.randn(40, 12, generator=torch.Generator().manual_seed(0)).tolist())
    before = torch.random.get_rng_state()
    first = thought_map(vectors)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(7)
    assert thought_map(vectors) == first
    assert first is not None
    centred = torch.stack([each.vector for each in vectors])
    values = torch.linalg.svdvals(centred - centred.mean(0)).square()
    assert first.explained == pytest.approx((values[:2] / values.sum()).tolist(), rel=1e-3)


def test_too_little_makes_no_map() -> None:
    assert thought_map(placed([1, 2], [3, 4])) is None
    assert thought_map(placed([1, 2], [1, 2], [1, 2])) is None
    two = thought_map(placed([0, 0], [1, 1], [2, 2]))
    assert two is not None and not math.isnan(two.explained[1])
