"""Arithmetic word problems on which CODI was evaluated and not trained: SVAMP, MultiArith, GSM-Hard."""

from __future__ import annotations

from dataclasses import dataclass

from reverse_codi.tasks.base import Problem, Step
from reverse_codi.tasks.corpus import Row, clean_question, question_signature
from reverse_codi.tasks.dataset import DatasetTask
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.tasks.gsm8k import number_answer
from reverse_codi.tasks.numbers import canonical_number


def _numeric(question: str, answer: str, equation: str = "") -> Problem:
    """A problem whose only step, if any, is its whole equation."""
    steps = tuple(Step(e.claim, e.claim, e.result) for e in parse_equations(equation))
    return Problem(question, answer, steps, question_signature(question))


@dataclass(frozen=True, kw_only=True)
class SVAMP(DatasetTask):
    """SVAMP (Patel et al. 2021, arXiv 2103.07191): one short equation a problem, with distractors.

    CODI's paper evaluates on both splits: `heldout_split: train+test`.
    """

    source: str = "ChilleD/SVAMP"

    def parse(self, row: Row) -> Problem:
        """Turn {question_concat | Body and Question, Equation, Answer} into a problem."""
        if row.fields.get("question_concat") is not None:
            question = clean_question(row.text("question_concat"))
        else:
            question = clean_question(f"{row.text('Body').strip()} {row.text('Question').strip()}")
        answer = number_answer(row, row.first("Answer"))
        equation = row.fields.get("Equation")
        stated = f"{equation} = {answer}" if isinstance(equation, str) else ""
        return _numeric(question, answer, stated)

    def canonical(self, text: str) -> str | None:
        """The first number."""
        return canonical_number(text)


@dataclass(frozen=True, kw_only=True)
class MultiArith(DatasetTask):
    """MultiArith (Roy and Roth 2015, arXiv 1608.01413): two to four operations, no written steps."""

    source: str = "ChilleD/MultiArith"

    def parse(self, row: Row) -> Problem:
        """Turn {question, final_ans} into a problem."""
        question = clean_question(row.text("question"))
        return _numeric(question, number_answer(row, row.first("final_ans", "answer")))

    def canonical(self, text: str) -> str | None:
        """The first number."""
        return canonical_number(text)


@dataclass(frozen=True, kw_only=True)
class GSMHard(DatasetTask):
    """GSM-Hard (Gao et al. 2022, arXiv 2211.10435): GSM8K's test questions with large numbers.

    Its only split is all test data: `heldout_split: train` holds all of it out.
    """

    source: str = "reasoning-machines/gsm-hard"

    def parse(self, row: Row) -> Problem:
        """Turn {input, target}, or the {instruction, response} of CODI's copy, into a problem."""
        question = clean_question(row.first("input", "instruction"))
        # A response is a solution that ends in "#### 42", or the number alone.
        stated = row.first("target", "response").rpartition("####")[2]
        return _numeric(question, number_answer(row, stated))

    def canonical(self, text: str) -> str | None:
        """The first number."""
        return canonical_number(text)
