"""Reciting statements: what is drawn, what is counted, and that it can be learnt."""

from __future__ import annotations

import logging
import random

import pytest
import torch

from reverse_codi.errors import UserError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill import recall
from reverse_codi.reasoners.distill.recall import Statements, learn
from reverse_codi.reasoners.latent_lm import LatentLM
from reverse_codi.recipe.distill import Recall
from reverse_codi.tasks.base import Split
from reverse_codi.tasks.graph import Graph
from reverse_codi.utils.finite import NotFiniteError
from reverse_codi.utils.log import show_log
from tests.fakes import printed, screen
from tests.tiny import make_tiny_reasoner

GRAPH = Graph(step_weights=((3, 1.0),), distractors=0, extra_links=0)
QUESTIONS = [problem.question for problem in GRAPH.problems(Split.TRAIN, 300, 0)]


@pytest.fixture(scope="module")
def reasoner() -> CodiReasoner:
    return make_tiny_reasoner(task=GRAPH)


@pytest.fixture(scope="module")
def statements(reasoner: CodiReasoner) -> Statements:
    return Statements.of(QUESTIONS, reasoner.tokenizer)


def test_sentences_that_ask_are_no_statements(reasoner: CodiReasoner, statements: Statements) -> None:
    assert len(statements.every) == 6 * len(QUESTIONS)
    assert sorted(reasoner.tokenizer.convert_ids_to_tokens(sorted(statements.common))) == [
        ".",
        "Every",
        "a",
        "is",
    ]
    facts = Statements.of(QUESTIONS, reasoner.tokenizer, "(?!Every)")
    assert len(facts.every) == 2 * len(QUESTIONS)
    with pytest.raises(UserError, match="no question has a statement that starts with 'Nobody'"):
        Statements.of(QUESTIONS, reasoner.tokenizer, "Nobody")


@pytest.mark.parametrize("left_out", [0.0, 1.0])
def test_a_recital_tells_what_was_read_in_another_order(
    reasoner: CodiReasoner, statements: Statements, left_out: float
) -> None:
    batch = statements.recital(random.Random(0), 16, 5, left_out, reasoner.config.bot_id, 0)
    dot = reasoner.tokenizer.convert_tokens_to_ids(".")
    orders = 0
    for row in range(16):
        read = batch.read[row][batch.read_mask[row].bool()].tolist()
        recited = batch.recited[row][batch.recited_mask[row].bool()].tolist()
        assert read[-1] == reasoner.config.bot_id
        assert sorted(read[:-1]) == sorted(recited)
        orders += read[:-1] != recited
        assert (dot in recited) == (left_out == 0.0)
        words = [token for token in recited if token not in statements.common]
        assert len(set(words)) == len(words) == 10  # no two statements share one
        assert batch.recited[row][batch.ends[row]].tolist() == words[1::2]
    assert orders > 8


def test_more_statements_than_the_words_allow_are_refused(statements: Statements) -> None:
    with pytest.raises(UserError, match=r"statements is 40, and \d+ share no word; set it lower"):
        statements.apart(40, random.Random(0))


def fresh_model() -> LatentLM:
    return make_tiny_reasoner(task=GRAPH).model.requires_grad_(True)


@pytest.mark.long
def test_patience_ends_an_attempt(statements: Statements) -> None:
    section = Recall(patience=101, batch_size=2, learning_rate=1e-6)
    console = show_log(screen(terminal=True))
    assert not learn(fresh_model(), statements, section, 0, 0)
    assert "recall, at most" in printed(console) and "101/303" in printed(console)


@pytest.mark.long
def test_what_is_learnt_ends_with_all_common_words(
    reasoner: CodiReasoner, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two statements that never change are soon known by heart."""
    monkeypatch.setattr(recall, "RETURN", 50)
    few = Statements(Statements.of(QUESTIONS, reasoner.tokenizer, "(?!Every)").every[:2])
    few.common = statements.common
    model = fresh_model()
    assert learn(model, few, Recall(statements=2, batch_size=16, patience=500), 0, 0)
    batch = few.recital(random.Random(9), 32, 2, 0.0, reasoner.config.bot_id, 0)
    with torch.no_grad():
        assert recall._loss(model, batch)[1] > 0.9


def test_a_loss_that_is_no_number_ends_the_attempt_at_once(
    statements: Statements, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reverse_codi")
    model = make_tiny_reasoner(task=GRAPH).model.requires_grad_(True)
    section = Recall(learning_rate=1e30, batch_size=4)
    with pytest.raises(
        NotFiniteError, match=r"loss of step \d+ is nan; lower distill\.recall\.learning_rate"
    ):
        learn(model, statements, section, 0, 0)
    assert not caplog.text
