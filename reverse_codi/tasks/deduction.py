"""Deduction over invented classes: ProsQA and ProntoQA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reverse_codi.tasks.answers import canonical_sentence, canonical_truth
from reverse_codi.tasks.base import Problem, Step
from reverse_codi.tasks.corpus import Row, clean_question, question_signature
from reverse_codi.tasks.dataset import DatasetTask
from reverse_codi.tasks.steps import sentence_steps

_OPTIONS = {"A": "True", "B": "False"}


def _steps(row: Row) -> tuple[Step, ...]:
    """One step a sentence: an entry of ProntoQA's `steps` holds a fact and a rule."""
    return tuple(step for text in row.texts("steps") for step in sentence_steps(text))


@dataclass(frozen=True, kw_only=True)
class ProsQA(DatasetTask):
    """ProsQA (Hao et al. 2024, arXiv 2412.06769): which of two classes does someone belong to?

    Its files (`prosqa_train.json`, `_valid`, `_test`) are in the repository of Coconut and have no hub id, so
    the source must be given.
    """

    def parse(self, row: Row) -> Problem:
        """Turn {question, steps, answer} into a problem; the graph in the record is not needed.

        Raises:
            TaskError: a field is missing, or the answer is no "A is a B."
        """
        question = clean_question(row.text("question"))
        answer = canonical_sentence(row.text("answer"))
        if answer is None:
            raise row.error("the answer is {!r}; write it like 'Tom is a lempus.'", row.text("answer"))
        return Problem(question, answer, _steps(row), question_signature(question))

    def canonical(self, text: str) -> str | None:
        """The first "A is a B"."""
        return canonical_sentence(text)


@dataclass(frozen=True, kw_only=True)
class ProntoQA(DatasetTask):
    """ProntoQA (Saparov and He 2022, arXiv 2210.01240): is a statement true?

    Three formats can be read: the generator's own JSON (its test examples), Coconut's `prontoqa_*.json`, and
    `renma/ProntoQA` on the hub, which has no steps. Their questions differ, so the source must be given.
    """

    def parse(self, row: Row) -> Problem:
        """Turn a record of one of the three into a problem.

        Raises:
            TaskError: a field is missing, or the answer is neither true nor false.
        """
        example = row.fields.get("test_example")
        if isinstance(example, Mapping):
            row = replace(row, fields=example)
            text = f"{row.text('question').strip()} {row.text('query').strip()}"
            steps = tuple(step for text in row.texts("chain_of_thought") for step in sentence_steps(text))
        elif "context" in row.fields:
            text, steps = f"{row.text('context').strip()} {row.text('question').strip()}", ()
        else:
            text, steps = row.text("question"), _steps(row)
        question = clean_question(text)
        stated = truth_field(row)
        return Problem(question, stated, steps, question_signature(question))

    def canonical(self, text: str) -> str | None:
        """The first truth value."""
        return canonical_truth(text)


def truth_field(row: Row, options: Mapping[str, str] = _OPTIONS) -> str:
    """The `answer` of a row as "True" or "False": a JSON boolean, a word, or the letter of an option.

    Raises:
        TaskError: it is none of these.
    """
    value = row.fields.get("answer")
    if isinstance(value, bool):
        return str(value)
    text = row.text("answer").strip()
    answer = options.get(text) or canonical_truth(text)
    if answer is None:
        raise row.error("the answer is {!r}; give it true or false", text)
    return answer
