from __future__ import annotations

import doctest
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

import reward.answer_preserved
from reverse_codi.evaluation.reward_trials.bench import Bench, TextKind, TrialSource
from reverse_codi.evaluation.reward_trials.trial import run, score
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.base import Chains, Patch
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.rewards.batch import RewardBatch
from reverse_codi.rewards.registry import find
from reward.answer_preserved import answer_preserved
from tests.fakes import FakeReasoner
from tests.tiny import make_batch, make_rows, make_table_metric

FIRST, LAST = Site("h", 0), Site("h", 1)
# What each text is read as; the rest as 99.
READS = {
    "3 + 4 = 7": [7.0],
    "3 + 4 = 8": [8.0],
    "6 + 1 = 7": [7.0],
    "": [50.0],
    "12": [12.0],
    "The answer is: 12": [12.0],
    "12 = 12.": [12.0],
    "7 + 5 = 12": [12.0],
}


class Adder(FakeReasoner):
    """Asked "3 4 5", thinks 3 + 4 and then + 5; a replaced thought is what it goes on from."""

    n_thoughts = 2

    def think(
        self, questions: Sequence[str], patch: Patch | None = None, n_thoughts: int | None = None
    ) -> Chains:
        latent_inputs = torch.zeros(len(questions), 2, 1)
        for row, question in enumerate(questions):
            first, *rest = map(float, question.split())
            value = first
            for k, number in enumerate(rest):
                value += number
                if patch is not None and patch.where[row, k]:
                    value = patch.latent_inputs[row, k].item()
                latent_inputs[row, k] = value
        outputs = [f"The answer is: {value:g}" for value in latent_inputs[:, -1, 0].tolist()]
        return Chains(torch.cat([latent_inputs, latent_inputs[:, -1:]], 1), latent_inputs, outputs)

    def project(self, hidden_states: Tensor) -> Tensor:
        return hidden_states


logged: dict[str, float] = {}


def batch(texts: list[str], sites: list[Site], question: str = "3 4 5") -> RewardBatch:
    metric: ThoughtMetric = make_table_metric(READS, FIRST, [99.0])
    metric.reader.reasoner = Adder()
    metric.maps |= dict.fromkeys(sites, metric.maps[FIRST])
    n = len(texts)
    rows = make_rows(texts, torch.zeros(n, 1), FIRST, sites=sites, questions=[question] * n)
    return make_batch(rows, metric, lambda k, v: logged.update({k: v}))


def test_doctests() -> None:
    assert doctest.testmod(reward.answer_preserved).failed == 0


def test_the_answer_must_survive_the_text() -> None:
    texts = ["3 + 4 = 7", "3 + 4 = 8", "words", "The answer is: 12", "12", "6 + 1 = 7"]
    assert answer_preserved(batch(texts, [FIRST] * 6)) == [1, 0, 0, 0, 0, 1]
    assert logged["counted"] == 1.0


def test_it_says_nothing_of_a_thought_that_the_final_answer_alone_can_stand_in_for() -> None:
    assert answer_preserved(batch(["7 + 5 = 12", "3 + 4 = 7"], [LAST, FIRST])) == [None, 1]
    assert logged["counted"] == 0.5


def test_it_says_nothing_of_a_thought_that_the_mean_or_silence_can_stand_in_for() -> None:
    assert answer_preserved(batch(["3 + 4 = 7"], [FIRST], "-4 4 5")) == [None]  # 0 is the mean
    assert answer_preserved(batch(["3 + 4 = 7"], [FIRST], "46 4 5")) == [None]  # 50 is read of ""


@pytest.mark.parametrize("site", [Site("h", 2), Site("h", 0, 3), ANSWER])
def test_it_does_not_apply_to_what_is_never_fed(site: Site) -> None:
    assert answer_preserved(batch(["3 + 4 = 7"], [site])) == [None]


def test_a_latent_input_is_used_as_it_is() -> None:
    assert answer_preserved(batch(["3 + 4 = 7", "3 + 4 = 8"], [Site("z", 0)] * 2)) == [1, 0]


@pytest.mark.long
def test_on_the_embedded_model_gold_wins_and_the_answer_alone_does_not() -> None:
    bench = Bench.of(TrialSource(problems=24))
    record = find("answer_preserved")
    trial = run(record, bench)
    assert trial.won_by == []
    mean = {kind: _mean(values) for kind, values in trial.values.items()}
    assert mean[TextKind.GOLD] > 0.9
    assert mean[TextKind.CONSTANT] < 0.1 and mean[TextKind.OTHER] < 0.2
    answers = [f"The answer is: {answer}" for answer in bench.thoughts.answers]
    values = score(record, bench.rows(answers), bench)
    assert sum(value is not None for value in values) > len(values) / 2
    assert _mean(values) == 0.0


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known)
