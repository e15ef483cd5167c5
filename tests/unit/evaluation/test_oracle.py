from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reverse_codi.evaluation.eval_set import EvalContext, EvalSet
from reverse_codi.evaluation.oracle import (
    Oracle,
    OracleQuestion,
    oracle_figures,
    queries,
    reply,
    train_oracle,
)
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.verbalize.thoughts import Thoughts
from tests.tiny import make_sharp_reasoner, make_tiny_metric, make_tiny_policy, make_tiny_traces

# 4 problems of 2 thoughts: the first holds step 1, the second step 2.
HELD = EncodedSteps(
    {(Site("h", k), n): [float(step == k) for step in range(n)] for k in range(2) for n in range(1, 5)}, 0.5
)
SECTION = WarmStartSection(steps=150, batch_size=32, learning_rate=2e-2)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> EvalContext:
    reasoner = make_sharp_reasoner(n_thoughts=2)
    train = make_tiny_traces(reasoner, tmp_path_factory.mktemp("traces"), n=4)
    # It is untrained and answers nothing; what it might have answered stands in.
    train.answers, train.correct = ["7", "8", "9", None], [True, True, False, True]
    return EvalContext.of(reasoner, Arithmetic(), make_tiny_metric(reasoner, n=32), HELD, train)


@pytest.fixture(scope="module")
def folders(context: EvalContext, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    context.reasoner.save_pretrained(root / "reasoner")
    make_tiny_policy(context.reasoner, rank=16).save(root / "like")
    return {name: root / name for name in ("reasoner", "like", "oracle")}


@pytest.fixture(scope="module")
def oracle(context: EvalContext, folders: dict[str, Path]) -> Oracle:
    return train_oracle(context, folders["like"], folders["oracle"], SECTION)


def test_replies_state_one_part_of_every_encoded_claim() -> None:
    claims = ["12 + 5 = 17", "17 * 2 - 4 = 30"]
    assert reply(OracleQuestion.OPERATION, claims, "30") == "+. * -"
    assert reply(OracleQuestion.RESULT, claims, "30") == "17. 30"
    assert reply(OracleQuestion.OPERANDS, claims, "30") == "12 5. 17 2 4"
    assert reply(OracleQuestion.ANSWER, claims, "31") == "31"
    assert reply(OracleQuestion.ANSWER, claims, None) == ""
    assert reply(OracleQuestion.RESULT, ["wumpuses are rompuses"], "yes") == ""


def test_one_adapter_learns_to_answer_every_query(context: EvalContext, oracle: Oracle) -> None:
    thoughts = context.thoughts(context.train)
    encoded = context.encoded_by(thoughts)
    active = [row for row, steps in enumerate(encoded) if steps]
    for asked in OracleQuestion:
        claims = [[thoughts.claims[row][step] for step in encoded[row]] for row in active]
        wanted = [reply(asked, c, thoughts.answers[row]) for c, row in zip(claims, active, strict=True)]
        predictions = oracle.ask(asked, thoughts.take(active))
        right = [a == b for a, b in zip(predictions, wanted, strict=True) if b]
        assert sum(right) >= len(right) - 1, asked


def test_a_finished_oracle_is_used_again(
    context: EvalContext, oracle: Oracle, folders: dict[str, Path]
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folders["oracle"].iterdir()}
    again = train_oracle(context, folders["like"], folders["oracle"], SECTION)
    assert {path.name: path.stat().st_mtime_ns for path in folders["oracle"].iterdir()} == before
    thoughts = context.thoughts(context.train)
    assert again.ask(OracleQuestion.RESULT, thoughts) == oracle.ask(OracleQuestion.RESULT, thoughts)


def test_figures_count_intermediate_steps_of_right_traces(context: EvalContext, oracle: Oracle) -> None:
    eval_set = EvalSet(context, context.train, context.train, None, seed=0)
    figures = oracle_figures(eval_set, oracle)
    assert list(figures) == [
        *(f"step_result.{k}" for k in (1, 2, 3)),
        "operands",
        "operation",
        "final_answer",
    ]
    steps = [len(claims) for claims in context.train.claims]
    assert figures["step_result.1"].n == sum(n > 1 for n in steps[:2] + steps[3:])
    assert figures["step_result.3"].n == 0  # two thoughts hold no third step
    assert figures["final_answer"].n == 3  # of all traces with an answer
    assert min(figures[key].value for key in ("operation", "operands", "final_answer")) > 0.7


class Fixed(Oracle):
    """Replies the same to everything."""

    def ask(self, asked: OracleQuestion, thoughts: Thoughts) -> list[str]:
        return ["7. 8"] * len(thoughts)


def test_a_reply_that_lists_numbers_pays_for_the_wrong_ones(context: EvalContext, oracle: Oracle) -> None:
    eval_set = EvalSet(context, context.train, context.train, None, seed=0)
    figures = oracle_figures(eval_set, Fixed(oracle.reasoner, oracle.policy, oracle.engine))
    active = [eval_set.thoughts.answers[row] for row in eval_set.active if eval_set.thoughts.answers[row]]
    named = sum(answer in ("7", "8") for answer in active)
    assert figures["final_answer"].value == pytest.approx(2 / 3 * named / len(active))


def with_cue(reasoner: CodiReasoner, cue: str) -> CodiReasoner:
    return CodiReasoner(reasoner.model, reasoner.tokenizer, replace(reasoner.config, cue=cue))


def test_a_query_word_that_the_tokenizer_does_not_know_is_named(
    context: EvalContext, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="does not know 'wombat'"):
        queries(with_cue(context.reasoner, "The wombat is:"))
