"""A user's own problems, one JSON object each: question, answer and, if known, steps."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from reverse_codi.tasks.answers import canonical_plain
from reverse_codi.tasks.base import Problem, Step
from reverse_codi.tasks.corpus import Row, question_signature
from reverse_codi.tasks.dataset import DatasetTask
from reverse_codi.tasks.equations import ANNOTATION, parse_equations
from reverse_codi.tasks.numbers import canonical_number, whole_number

_STEP_KEYS = ("english", "claim", "result")


def jsonl_problem(row: Row) -> Problem:
    """Turn a {question, answer, steps} record into a problem; `steps` may be empty or absent.

    Raises:
        TaskError: a field is missing or of another type.
    """
    question, answer = row.text("question"), canonical_plain(row.first("answer"))
    if not answer:
        raise row.error(
            "'answer' is {!r}, which has no word and no number; give it a value", row.fields["answer"]
        )
    values = row.fields.get("steps") or []
    if not isinstance(values, list):
        raise row.error("'steps' is {!r}; give it a list of strings or of {{english, claim, result}}", values)
    steps = [step for i, value in enumerate(values, start=1) for step in _steps(value, i, row)]
    return Problem(question, answer, tuple(steps), question_signature(question))


def _steps(value: object, number: int, row: Row) -> list[Step]:
    """The steps of one list entry: one for each equation, so that each claim stands alone."""
    if isinstance(value, Mapping):
        return [_recorded_step(value, number, row)]
    if not isinstance(value, str) or not value.strip():
        raise row.error(
            "step {} is {!r}; give it a non-empty string or {{english, claim, result}}", number, value
        )
    english = ANNOTATION.sub("", value).strip() or value.strip()
    equations = parse_equations(value)
    return [Step(english, e.claim, e.result) for e in equations] or [Step(english, english, "")]


def _recorded_step(fields: Mapping[str, object], number: int, row: Row) -> Step:
    unknown = sorted(set(fields) - set(_STEP_KEYS))
    odd = sorted(key for key in _STEP_KEYS if not isinstance(fields.get(key, ""), str))
    if unknown or odd:
        raise row.error(
            f"step {{}}: {', '.join(unknown or odd)}; the keys are {', '.join(_STEP_KEYS)}, all text", number
        )
    english, claim, result = (str(fields.get(key, "")).strip() for key in _STEP_KEYS)
    if not (claim or english):
        raise row.error("step {} has neither claim nor english; give it a claim", number)
    equations = parse_equations(claim or english)
    if len(equations) == 1:
        claim, result = equations[0].claim, equations[0].result
    return Step(english or claim, claim or english, result)


@dataclass(frozen=True, kw_only=True)
class JsonLines(DatasetTask):
    """Problems from a JSON lines file or a folder of them.

    If all answers are numbers they are compared as numbers, else as text. A text that is only a number counts
    as that number.
    """

    def parse(self, row: Row) -> Problem:
        """See `jsonl_problem`."""
        return jsonl_problem(row)

    def canonical(self, text: str) -> str | None:
        """The first number, or the whole text."""
        return canonical_number(text) if self.numeric else canonical_plain(text) or None

    @functools.cached_property
    def numeric(self) -> bool:
        """Whether every answer is a number."""
        answers = [problem.answer for problem in self.corpus.train + self.corpus.heldout]
        return all(whole_number(answer) for answer in answers)
