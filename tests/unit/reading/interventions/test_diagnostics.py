from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from reverse_codi.reading.interventions.diagnostics import (
    early_decoding,
    prompt_reconstruction,
    step_ablation,
)
from reverse_codi.reading.interventions.replace import answers_with, only
from reverse_codi.reading.interventions.traced import Traced
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.tasks.base import Task
from tests.fakes import FakeReasoner
from tests.tiny import make_problems


def test_ablation_is_of_one_thought_at_a_time(sharp: CodiReasoner, task: Task, traced: Traced) -> None:
    means = traced.latent_inputs.mean(0)
    table = step_ablation(sharp, task, traced, means)
    assert table.shape == (40, 3)
    for k in range(3):
        answers = answers_with(sharp, task, traced, means.expand_as(traced.latent_inputs), only([k] * 40, 3))
        assert table[:, k].tolist() == [a == b for a, b in zip(answers, traced.answers, strict=True)]
    assert table.mean() < 1


def test_all_thoughts_give_the_final_answer(sharp: CodiReasoner, task: Task, traced: Traced) -> None:
    table = early_decoding(sharp, task, traced.questions, traced.answers)
    assert table.shape == (40, 4)
    assert table[:, 3].tolist() == [1] * 40
    assert table[:, 0].mean() < 1
    unanswered = early_decoding(sharp, task, traced.questions[:2], [None, traced.answers[1]])
    assert unanswered[:, 3].tolist() == [0, 1]


class Scripted(FakeReasoner):
    """Likelihoods by a rule: a text is likely after a question that it is a part of."""

    def __init__(self) -> None:
        self.n_pairs = 0

    def nll(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> torch.Tensor:
        assert questions is not None
        self.n_pairs += len(texts)
        return torch.tensor([0.0 if t in q else 1.0 for t, q in zip(texts, questions, strict=True)])


def reconstruction(
    chains: list[str], questions: list[str], among: int, limit: int | None = None
) -> list[float]:
    found: list[float] = prompt_reconstruction(Scripted(), chains, questions, among, limit).tolist()
    return found


def test_a_text_that_fits_its_question_alone_is_a_hit() -> None:
    questions = ["ann 1", "ben 2", "cara 3", "dan 4", "eva 5"]
    assert reconstruction(["ann", "2", "3", "ann"], questions[:4], 4) == [1, 1, 1, 0]
    # a tie counts against it, be it with one other question or with all
    assert reconstruction(["a", "ben", "?", ""], questions[:4], 4) == [0, 1, 0, 0]
    # two equal questions cannot be told apart
    assert reconstruction(["ann", "ann"], ["ann 1", "ann 1"], 2) == [0, 0]


def test_only_full_blocks_count_and_the_limit_caps_them() -> None:
    questions = [f"q{i}." for i in range(11)]
    chains = questions
    assert reconstruction(chains, questions, 4) == [1] * 8
    assert reconstruction(chains, questions, 4, limit=1) == [1] * 4
    with pytest.raises(ValueError, match="11 questions make no block of 64"):
        reconstruction(chains, questions, 64)


def test_equal_pairs_are_computed_once() -> None:
    scripted = Scripted()
    prompt_reconstruction(scripted, ["1"] * 4, ["a", "b", "c", "d"], among=4)
    assert scripted.n_pairs == 4


def test_a_constant_text_is_at_chance(sharp: CodiReasoner) -> None:
    questions = [p.question for p in make_problems(32)]
    constant = prompt_reconstruction(sharp, ["12 + 5 = 17."] * 32, questions, among=8)
    assert constant.tolist().count(1) <= 4  # one in a block at most
    assert prompt_reconstruction(sharp, [""] * 32, questions, among=8).sum() == 0


def test_gold_chains_tell_the_question_under_the_embedded_model() -> None:
    problems = make_problems(16)
    chains = [" ".join(f"{claim}." for claim in p.claims) for p in problems]
    hits = prompt_reconstruction(load_reasoner("embedded"), chains, [p.question for p in problems], 16)
    assert np.mean(hits) > 0.8
