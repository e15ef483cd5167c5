from __future__ import annotations

import pytest
import torch

from reverse_codi.reading.interventions.follow import Edits, follow
from reverse_codi.reading.interventions.replace import answers_with, inputs_of_texts, only
from reverse_codi.reading.interventions.traced import Traced
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.tasks.base import Task
from tests.tiny import make_tiny_metric

N = 60
ROWS, THOUGHTS = [i % 40 for i in range(N)], [i % 3 for i in range(N)]
TEXTS = [f"{3 + i % 7} + {4 + i % 5} = {7 + i % 7 + i % 5}." for i in range(N)]


@pytest.fixture(scope="module")
def metric(sharp: CodiReasoner) -> ThoughtMetric:
    return make_tiny_metric(sharp)


def edits(expected: list[str]) -> Edits:
    return Edits(ROWS, THOUGHTS, TEXTS, expected)


def test_an_answer_as_expected_is_a_hit_and_any_other_a_miss(
    sharp: CodiReasoner, metric: ThoughtMetric, task: Task, traced: Traced
) -> None:
    single = traced.take(ROWS)
    latent_inputs = inputs_of_texts(sharp, metric, [[text] * 3 for text in TEXTS], single.questions)
    real = answers_with(sharp, task, single, latent_inputs, only(THOUGHTS, 3))

    followed = follow(sharp, metric, task, traced, edits([str(answer) for answer in real]))
    assert followed.answers == real
    assert followed.became.tolist() == [1] * N
    same = [a == b for a, b in zip(real, single.answers, strict=True)]
    assert 0 < sum(same) < N  # some edits moved the answer

    missed = follow(sharp, metric, task, traced, edits(["what it never says"] * N))
    assert missed.became.tolist() == [0] * N
    assert missed.answers == real


def test_no_edits_give_nothing(
    sharp: CodiReasoner, metric: ThoughtMetric, task: Task, traced: Traced
) -> None:
    followed = follow(sharp, metric, task, traced, Edits([], [], [], []))
    assert (followed.answers, len(followed.became)) == ([], 0)


def test_edits_must_be_of_one_length() -> None:
    with pytest.raises(ValueError, match=r"have \[1, 1, 2, 1\] entries"):
        Edits([0], [0], ["a", "b"], ["1"])


def test_the_edited_text_reaches_later_thoughts(
    sharp: CodiReasoner, metric: ThoughtMetric, task: Task, traced: Traced
) -> None:
    # Were later thoughts kept, the answer would be that of patching all of them with the model's own.
    single = traced.take(list(range(40)))
    texts = ["12 + 5 = 17."] * 40
    latent_inputs = traced.latent_inputs.clone()
    latent_inputs[:, 0] = inputs_of_texts(sharp, metric, [[t] * 3 for t in texts], single.questions)[:, 0]
    frozen = answers_with(sharp, task, single, latent_inputs, torch.ones_like(traced.active))
    followed = follow(sharp, metric, task, traced, Edits(list(range(40)), [0] * 40, texts, ["?"] * 40))
    assert followed.answers != frozen
