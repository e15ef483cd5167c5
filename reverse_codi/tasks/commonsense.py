"""Questions solved in prose: CommonsenseQA and StrategyQA with the solutions that CODI learned from."""

from __future__ import annotations

from dataclasses import dataclass

from reverse_codi.tasks.answers import canonical_letter, canonical_truth
from reverse_codi.tasks.base import Problem, Step
from reverse_codi.tasks.corpus import Row, clean_question, question_signature
from reverse_codi.tasks.dataset import DatasetTask
from reverse_codi.tasks.deduction import truth_field
from reverse_codi.tasks.steps import sentences


def _prose_problem(row: Row, answer: str) -> Problem:
    """A problem with one step for each sentence of its `cot`; no step states a result."""
    question = clean_question(row.text("question"))
    steps = tuple(Step(text, text.removesuffix("."), "") for text in sentences(row.text("cot")))
    return Problem(question, answer, steps, question_signature(question))


@dataclass(frozen=True, kw_only=True)
class CommonsenseQA(DatasetTask):
    """CommonsenseQA (Talmor et al. 2019, arXiv 1811.00937) with solutions by GPT-4o mini.

    Its test answers are not public, so the validation split is held out.
    """

    source: str = "zen-E/CommonsenseQA-GPT4omini"

    def parse(self, row: Row) -> Problem:
        """Turn {question with its choices, cot, answer} into a problem.

        Raises:
            TaskError: a field is missing, or the answer is no letter A to E.
        """
        answer = canonical_letter(row.text("answer"))
        if answer is None:
            raise row.error("the answer is {!r}; give it a letter A to E", row.text("answer"))
        return _prose_problem(row, answer)

    def canonical(self, text: str) -> str | None:
        """The letter that the text begins with."""
        return canonical_letter(text)


@dataclass(frozen=True, kw_only=True)
class StrategyQA(DatasetTask):
    """StrategyQA (Geva et al. 2021, arXiv 2101.02235) with solutions by GPT-4o; one split only."""

    source: str = "zen-E/StrategyQA_CoT_GPT4o"

    def parse(self, row: Row) -> Problem:
        """Turn {question, cot, answer} into a problem.

        Raises:
            TaskError: a field is missing, or the answer is neither true nor false.
        """
        return _prose_problem(row, truth_field(row, options={}))

    def canonical(self, text: str) -> str | None:
        """The first truth value."""
        return canonical_truth(text)
