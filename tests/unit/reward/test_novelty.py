from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from reverse_codi.reasoners.sites import Site
from reverse_codi.rewards.batch import RewardBatch
from reward.novelty import Novelty, matches, novelty
from tests.tiny import make_batch, make_rows, make_table_metric

SITE = Site("h", 1)
logged: dict[str, float] = {}


def batch(texts: list[str], thoughts: list[list[float]], **others: object) -> RewardBatch:
    logged.clear()
    rows = make_rows(texts, torch.tensor(thoughts), SITE, **others)
    return make_batch(
        rows, make_table_metric({"": [0.0, 0.0]}, SITE, [0.0, 0.0]), lambda k, v: logged.update({k: v})
    )


def test_the_penalty_is_the_share_of_bits_that_are_missing() -> None:
    # Four thoughts, each at 90 degrees or more from the others: match 1 - 2 = -1 or less.
    apart = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]
    assert novelty(batch(["a b", "a  b ", "c", "a b"], apart), Novelty()) == pytest.approx(
        [-math.log(3) / math.log(4), -math.log(3) / math.log(4), 0.0, -math.log(3) / math.log(4)]
    )
    assert logged["shared"] == 0.75
    assert novelty(batch(["same"] * 4, apart), Novelty()) == pytest.approx([-1.0] * 4)


def test_like_thoughts_may_share_a_text() -> None:
    # Distance .02 of 1: match .98 and (from the second, at 1.01 of the mean) .9802; to the third 1.01, 1.0.
    given = batch(["a", "a", "a"], [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    assert novelty(given, Novelty(like=0.9)) == pytest.approx([-math.log(2) / math.log(3)] * 2 + [-1.0])
    assert novelty(given, Novelty(like=0.995)) == pytest.approx([-1.0] * 3)


def test_matches_are_those_of_the_metric() -> None:
    given = batch(["a", "b"], [[1.0, 0.5], [-0.3, 2.0]])
    table = matches(given.metric.map_of(SITE), given.targets)
    rows = torch.tensor([0, 1])
    expected = given.metric.match(given.targets[rows], given.targets[1 - rows], [SITE] * 2)
    assert table[rows, 1 - rows].tolist() == pytest.approx(expected.tolist())
    assert table.diagonal().tolist() == pytest.approx([1.0, 1.0])


def test_a_thoughts_own_texts_may_be_equal() -> None:
    given = batch(["a", "a", "b"], [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], questions=["p", "p", "q"])
    assert novelty(given, Novelty()) == [0.0, 0.0, 0.0]


def test_other_sites_are_not_compared() -> None:
    given = batch(["a", "a"], [[1.0, 0.0], [0.0, 1.0]])
    maps = given.metric.maps
    maps[Site("h", 2)] = maps[SITE]
    assert novelty(replace(given, sites=[SITE, Site("h", 2)]), Novelty()) == [0.0, 0.0]


def test_the_step_is_counted_not_the_share() -> None:
    apart = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]
    share = batch(["a", "a", "b", "c"], apart).take([0, 1])
    assert novelty(share, Novelty()) == pytest.approx([-0.5, -0.5])  # log 2 / log 4


def test_one_thought_alone_shares_nothing() -> None:
    assert novelty(batch(["a"], [[1.0, 0.0]]), Novelty()) == [0.0]
