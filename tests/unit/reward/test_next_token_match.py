from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.rewards.batch import RewardBatch
from reward.next_token_match import WORST, NextTokenMatch, next_token_match
from tests.fakes import FakeReasoner
from tests.tiny import (
    make_batch,
    make_problems,
    make_rows,
    make_sharp_reasoner,
    make_table_metric,
    make_tiny_metric,
)

SITE = Site("h", 1)
LN3 = math.log(3)
# Two tokens; a hidden state's entries are their logits, so the thought says 3/4 and 1/4.
THOUGHT = [LN3, 0.0]
READS = {
    "same": [LN3, 0.0],
    "shifted": [LN3 + 7, 7.0],
    "even": [0.0, 0.0],
    "turned": [0.0, LN3],
    "wild": [0.0, 900.0],
}


class TwoTokens(FakeReasoner):
    """A reasoner whose output head is the identity."""

    def logits(self, hidden_states: Tensor) -> Tensor:
        return hidden_states


def batch_at(site: Site) -> RewardBatch:
    metric = make_table_metric(READS, site)
    metric.reader.reasoner = TwoTokens()
    return make_batch(make_rows(list(READS), torch.tensor([THOUGHT] * len(READS)), site), metric)


@pytest.mark.parametrize("site", [SITE, ANSWER])
def test_it_is_minus_the_kl_divergence_in_nats(site: Site) -> None:
    even = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    turned = 0.75 * math.log(3) + 0.25 * math.log(1 / 3)
    expected = [0.0, 0.0, -even, -turned, WORST]
    assert next_token_match(batch_at(site), NextTokenMatch()) == pytest.approx(expected, abs=1e-6)


def test_temperature_divides_both_logits() -> None:
    p = math.sqrt(3) / (1 + math.sqrt(3))  # 3/4 and 1/4 at temperature 2
    turned = (2 * p - 1) * math.log(3) / 2
    values = next_token_match(batch_at(SITE), NextTokenMatch(temperature=2.0))
    assert values[0] == pytest.approx(0.0, abs=1e-6) and values[3] == pytest.approx(-turned, abs=1e-6)


@pytest.mark.parametrize("site", [Site("z", 1), Site("h", 1, 3)])
def test_it_does_not_apply_to_what_the_head_never_reads(site: Site) -> None:
    assert next_token_match(batch_at(site), NextTokenMatch()) == [None] * len(READS)


def test_a_constant_text_loses_to_the_right_one() -> None:
    reasoner = make_sharp_reasoner()
    metric: ThoughtMetric = make_tiny_metric(reasoner)
    problems = make_problems(128)  # those that the maps were fitted on
    targets = reasoner.think([p.question for p in problems]).at(SITE)
    gold = [p.claims[-1] for p in problems]

    def mean(texts: list[str]) -> float:
        values = next_token_match(make_batch(make_rows(texts, targets, SITE), metric), NextTokenMatch())
        assert all(value is not None and WORST <= value <= 0 for value in values)
        return sum(value or 0.0 for value in values) / len(values)

    right = mean(gold)
    assert right > mean([gold[0]] * len(gold)) + 0.1
    assert right > mean(gold[1:] + gold[:1]) + 0.1
