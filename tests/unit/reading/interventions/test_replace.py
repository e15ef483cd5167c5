from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from reverse_codi.reading.interventions.replace import (
    Moments,
    Replacement,
    Sources,
    answers_with,
    inputs_of_texts,
    kept,
    kept_all,
    kept_each,
    only,
    replacement_vectors,
)
from reverse_codi.reading.interventions.traced import Traced
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import Prefix, ReadSpec
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split, Task
from tests.tiny import make_problems, make_tiny_metric

K = 3


class Counting(CodiReasoner):
    """Counts the texts it reads."""

    def __init__(self, reasoner: CodiReasoner) -> None:
        super().__init__(reasoner.model, reasoner.tokenizer, reasoner.config)
        self.texts: list[str] = []

    def read(self, texts: Any, questions: Any = None, suffix: str = "") -> list[torch.Tensor]:
        self.texts += texts
        return super().read(texts, questions, suffix)


@pytest.fixture(scope="module")
def sources(sharp: CodiReasoner, traced: Traced) -> Sources:
    claims = [p.claims for p in make_problems(len(traced))]
    gold = [[f"{c[min(k, len(c) - 1)]}." for k in range(K)] for c in claims]
    translations = [[text.upper() for text in row] for row in gold[::-1]]
    metric = make_tiny_metric(sharp)
    return Sources(sharp, metric, Moments.of(traced.latent_inputs), traced.donors(0), gold, translations)


def test_no_answer_is_never_kept() -> None:
    assert kept(["1", "2", None, None], ["1", "3", None, "4"]).tolist() == [1, 0, 0, 0]


def test_its_own_thoughts_keep_every_answer(sharp: CodiReasoner, task: Task, traced: Traced) -> None:
    assert kept_all(sharp, task, traced, traced.latent_inputs).mean() == 1
    each = kept_each(sharp, task, traced, traced.latent_inputs)
    assert each.kept.mean() == 1
    assert (each.rows[:4], each.thoughts[:4]) == ([0, 0, 0, 1], [0, 1, 2, 0])


@pytest.mark.parametrize("kind", ["zero", "mean", "noise", "other"])
def test_other_vectors_change_answers(sources: Sources, task: Task, traced: Traced, kind: str) -> None:
    vectors = replacement_vectors(Replacement(kind), traced, sources)
    assert vectors.shape == traced.latent_inputs.shape
    assert 0 <= kept_all(sources.reasoner, task, traced, vectors).mean() < 1
    assert 0 <= kept_each(sources.reasoner, task, traced, vectors).kept.mean() < 1


def test_only_active_thoughts_are_replaced(sources: Sources, task: Task, traced: Traced) -> None:
    zeros = torch.zeros_like(traced.latent_inputs)
    nothing = dataclasses.replace(traced, active=torch.zeros_like(traced.active))
    assert kept_all(sources.reasoner, task, nothing, zeros).mean() == 1
    assert len(kept_each(sources.reasoner, task, nothing, zeros).kept) == 0
    assert answers_with(sources.reasoner, task, nothing, zeros, traced.active) == answers_with(
        sources.reasoner, task, traced, zeros
    )


def test_single_replacements_are_those_of_the_reasoner(
    sharp: CodiReasoner, task: Task, traced: Traced
) -> None:
    active = traced.active.clone()
    active[::2, 1] = False
    zeros = torch.zeros_like(traced.latent_inputs)
    each = kept_each(sharp, task, dataclasses.replace(traced, active=active), zeros)
    assert len(each.kept) == int(active.sum())
    for row, k, value in list(zip(each.rows, each.thoughts, each.kept, strict=True))[:9]:
        assert active[row, k]
        [answer] = answers_with(sharp, task, traced.take([row]), zeros[:1], only([k], K))
        assert value == (answer == traced.answers[row])


def test_noise_has_the_moments_of_training_thoughts_and_a_seed(sources: Sources, traced: Traced) -> None:
    many = traced.take(list(range(len(traced))) * 50)
    noise = replacement_vectors(Replacement.NOISE, many, sources)
    assert torch.allclose(noise.mean(0), sources.moments.mean, atol=0.15)
    assert torch.allclose(noise.std(0), sources.moments.deviation, atol=0.15)
    assert torch.equal(noise, replacement_vectors(Replacement.NOISE, many, sources))
    other = replacement_vectors(Replacement.NOISE, many, dataclasses.replace(sources, seed=1))
    assert not torch.allclose(noise, other)


def test_each_kind_takes_its_own_texts(sources: Sources, traced: Traced) -> None:
    def read(texts: list[list[str]]) -> torch.Tensor:
        return inputs_of_texts(sources.reasoner, sources.metric, texts, traced.questions)

    translations = [list(row) for row in sources.translations]
    expected = {
        Replacement.OTHER: traced.latent_inputs[sources.donors],
        Replacement.EMPTY_TEXT: read([[""] * K] * len(traced)),
        Replacement.OTHER_TEXT: read([translations[j] for j in sources.donors]),
        Replacement.GOLD_TEXT: read([list(row) for row in sources.gold]),
        Replacement.TRANSLATION: read(translations),
    }
    for kind, vectors in expected.items():
        assert torch.equal(replacement_vectors(kind, traced, sources), vectors)
    assert all(traced.answers[i] != traced.answers[j] for i, j in enumerate(sources.donors))


def test_the_latent_input_is_the_projected_prediction_of_each_site(sources: Sources, traced: Traced) -> None:
    latent_inputs = inputs_of_texts(sources.reasoner, sources.metric, sources.gold[:5], traced.questions[:5])
    for k in range(K):
        texts = [row[k] for row in sources.gold[:5]]
        predicted = sources.metric.predict(texts, [Site("h", k)] * 5)
        assert torch.allclose(latent_inputs[:, k], sources.reasoner.project(predicted), atol=1e-4)


def test_each_distinct_text_is_read_once(sharp: CodiReasoner, sources: Sources, traced: Traced) -> None:
    counting = Counting(sharp)
    metric = make_tiny_metric(counting)
    counting.texts = []
    inputs_of_texts(counting, metric, sources.gold, traced.questions)
    assert sorted(counting.texts) == sorted({text for row in sources.gold for text in row})


@pytest.mark.parametrize("prefix", list(Prefix))
def test_reading_does_not_depend_on_batch_composition(
    sharp: CodiReasoner, sources: Sources, traced: Traced, prefix: Prefix
) -> None:
    metric: ThoughtMetric = make_tiny_metric(sharp, ReadSpec(prefix=prefix))
    together = inputs_of_texts(sharp, metric, sources.gold, traced.questions)
    for row in (0, 7, 39):
        alone = inputs_of_texts(sharp, metric, sources.gold[row : row + 1], traced.questions[row : row + 1])
        assert torch.allclose(together[row], alone[0], atol=1e-3)


def test_a_row_needs_a_text_for_every_thought(sources: Sources) -> None:
    with pytest.raises(ValueError, match="row 1 has 2 texts; give one for each of the 3 thoughts"):
        inputs_of_texts(sources.reasoner, sources.metric, [["a"] * 3, ["a"] * 2], ["?", "?"])


def test_the_embedded_model_needs_its_thoughts() -> None:
    reasoner, task = load_reasoner("embedded"), Arithmetic()
    problems = [p for p in task.problems(Split.HELDOUT, 70, 0) if len(p.steps) >= 2][:40]
    questions = [p.question for p in problems]
    chains = reasoner.think(questions)
    answers = [task.extract_answer(output) for output in chains.outputs]
    active = torch.ones(chains.latent_inputs.shape[:2], dtype=torch.bool)
    traced = Traced(questions, chains.latent_inputs, chains.hidden_states, answers, active)
    traced = traced.take(traced.usable)
    assert len(traced) >= 39
    assert kept_all(reasoner, task, traced, traced.latent_inputs).mean() == 1
    assert kept_all(reasoner, task, traced, torch.zeros_like(traced.latent_inputs)).mean() < 0.5
