from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reverse_codi.evaluation.exam import Exam, Subject
from reverse_codi.evaluation.oracle import Asked, Oracle, oracle_figures, queries, reply, train_oracle
from reverse_codi.reading.claims import HeldSteps
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.verbalize.thoughts import Thoughts
from tests.tiny import make_sharp_reasoner, make_tiny_measure, make_tiny_policy, make_tiny_traces

# 4 problems of 2 thoughts: the first holds step 1, the second step 2.
HELD = HeldSteps(
    {(Site("h", k), n): [float(step == k) for step in range(n)] for k in range(2) for n in range(1, 5)}, 0.5
)
SECTION = WarmStartSection(steps=150, batch_size=32, learning_rate=2e-2)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    reasoner = make_sharp_reasoner(n_thoughts=2)
    train = make_tiny_traces(reasoner, tmp_path_factory.mktemp("traces"), n=4)
    # It is untrained and answers nothing; what it might have answered stands in.
    train.answers, train.correct = ["7", "8", "9", None], [True, True, False, True]
    return Subject.of(reasoner, Arithmetic(), make_tiny_measure(reasoner, n=32), HELD, train)


@pytest.fixture(scope="module")
def folders(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    subject.reasoner.save_pretrained(root / "reasoner")
    make_tiny_policy(subject.reasoner, rank=16).save(root / "like")
    return {name: root / name for name in ("reasoner", "like", "oracle")}


@pytest.fixture(scope="module")
def oracle(subject: Subject, folders: dict[str, Path]) -> Oracle:
    return train_oracle(subject, folders["reasoner"], folders["like"], folders["oracle"], SECTION)


def test_replies_state_one_part_of_every_held_claim() -> None:
    claims = ["12 + 5 = 17", "17 * 2 - 4 = 30"]
    assert reply(Asked.OPERATION, claims, "30") == "+. * -"
    assert reply(Asked.RESULT, claims, "30") == "17. 30"
    assert reply(Asked.OPERANDS, claims, "30") == "12 5. 17 2 4"
    assert reply(Asked.ANSWER, claims, "31") == "31"
    assert reply(Asked.ANSWER, claims, None) == ""
    assert reply(Asked.RESULT, ["wumpuses are rompuses"], "yes") == ""


def test_one_adapter_learns_to_answer_every_query(subject: Subject, oracle: Oracle) -> None:
    thoughts = subject.thoughts(subject.train)
    held = subject.held_by(thoughts)
    live = [row for row, steps in enumerate(held) if steps]
    for asked in Asked:
        claims = [[thoughts.claims[row][step] for step in held[row]] for row in live]
        wanted = [reply(asked, c, thoughts.answers[row]) for c, row in zip(claims, live, strict=True)]
        said = oracle.ask(asked, thoughts.take(live))
        right = [a == b for a, b in zip(said, wanted, strict=True) if b]
        assert sum(right) >= len(right) - 1, asked


def test_a_finished_oracle_is_used_again(subject: Subject, oracle: Oracle, folders: dict[str, Path]) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folders["oracle"].iterdir()}
    again = train_oracle(subject, folders["reasoner"], folders["like"], folders["oracle"], SECTION)
    assert {path.name: path.stat().st_mtime_ns for path in folders["oracle"].iterdir()} == before
    thoughts = subject.thoughts(subject.train)
    assert again.ask(Asked.RESULT, thoughts) == oracle.ask(Asked.RESULT, thoughts)


def test_figures_count_intermediate_steps_of_right_traces(subject: Subject, oracle: Oracle) -> None:
    exam = Exam(subject, subject.train, subject.train, None, seed=0)
    figures = oracle_figures(exam, oracle)
    assert list(figures) == [
        *(f"step_result.{k}" for k in (1, 2, 3)),
        "operands",
        "operation",
        "final_answer",
    ]
    steps = [len(claims) for claims in subject.train.claims]
    assert figures["step_result.1"].n == sum(n > 1 for n in steps[:2] + steps[3:])
    assert figures["step_result.3"].n == 0  # two thoughts hold no third step
    assert figures["final_answer"].n == 3  # of all traces with an answer
    assert min(figures[key].value for key in ("operation", "operands", "final_answer")) > 0.7


class Fixed(Oracle):
    """Replies the same to everything."""

    def ask(self, asked: Asked, thoughts: Thoughts) -> list[str]:
        return ["7. 8"] * len(thoughts)


def test_a_reply_that_lists_numbers_pays_for_the_wrong_ones(subject: Subject, oracle: Oracle) -> None:
    exam = Exam(subject, subject.train, subject.train, None, seed=0)
    figures = oracle_figures(exam, Fixed(oracle.reasoner, oracle.policy, oracle.engine))
    live = [exam.thoughts.answers[row] for row in exam.live if exam.thoughts.answers[row]]
    named = sum(answer in ("7", "8") for answer in live)
    assert figures["final_answer"].value == pytest.approx(2 / 3 * named / len(live))


def with_cue(reasoner: CodiReasoner, cue: str) -> CodiReasoner:
    return CodiReasoner(reasoner.model, reasoner.tokenizer, replace(reasoner.config, cue=cue))


def test_a_query_word_that_the_tokenizer_does_not_know_is_named(
    subject: Subject, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="does not know 'wombat'"):
        queries(with_cue(subject.reasoner, "The wombat is:"))
