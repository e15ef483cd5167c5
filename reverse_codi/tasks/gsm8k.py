"""GSM8K and GSM8k-Aug: grade-school word problems with calculator annotations.

Cobbe et al. 2021, arXiv 2110.14168: an answer is lines of English with `<<48/2=24>>` in them and a last
line `#### 72`. GSM8k-Aug (Deng et al. 2023, arXiv 2311.01460) has annotations only, and many more of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reverse_codi.tasks.base import Problem, Step
from reverse_codi.tasks.corpus import Row, clean_question, question_signature
from reverse_codi.tasks.dataset import DatasetTask
from reverse_codi.tasks.equations import ANNOTATION, parse_equations
from reverse_codi.tasks.numbers import canonical_number
from reverse_codi.tasks.steps import sentences

_RESULT_MARK = "####"


def number_answer(row: Row, text: str) -> str:
    """A gold answer that must be a number.

    Raises:
        TaskError: there is no number in it.
    """
    answer = canonical_number(text)
    if answer is None:
        raise row.error("the answer is {!r}; give it a number", text)
    return answer


def gsm8k_problem(row: Row) -> Problem:
    """Turn a {question, answer} record into a problem; lines without annotations are no steps.

    Raises:
        TaskError: a field or the `####` result is missing, or an annotation is no equation.
    """
    question, solution = clean_question(row.text("question")), row.text("answer")
    body, mark, stated = solution.rpartition(_RESULT_MARK)
    answer = canonical_number(stated)
    if not mark or answer is None:
        raise row.error("the answer ends in {!r}; its last line must be '#### ' and a number", solution[-30:])
    steps: list[Step] = []
    for line in body.split("\n"):
        english = ANNOTATION.sub("", line).strip()
        for annotation in ANNOTATION.findall(line):
            equations = parse_equations(f"<<{annotation}>>")
            if not equations:
                raise row.error("the annotation <<{}>> is no equation; write it like <<48/2=24>>", annotation)
            steps += [Step(english, equation.claim, equation.result) for equation in equations]
    return Problem(question, answer, tuple(steps), question_signature(question))


def aug_problem(row: Row) -> Problem:
    """Turn {question, cot, answer}, Coconut's {question, steps, answer} or a text line into a problem.

    A line is `question||<<48/2=24>> <<24+48=72>> #### 72`. A model wrote the solutions, so a line without an
    equation stays a step in words.

    Raises:
        TaskError: a field is missing, or the answer is no number.
    """
    if "text" in row.fields:
        line = row.text("text")
        question, bars, rest = line.partition("||")
        cot, mark, answer = rest.partition(_RESULT_MARK)
        if not (question and bars and mark):
            raise row.error("{!r} is no 'question||steps #### answer'; write it so", line[:60])
        row = replace(row, fields={"question": question, "cot": cot, "answer": answer})
    question = clean_question(row.text("question"))
    solution = row.fields.get("cot", row.fields.get("steps"))
    if isinstance(solution, list):
        solution = " ".join(text for text in solution if isinstance(text, str))
    if not isinstance(solution, str):
        raise row.error("'cot' is {!r}; give it the steps, as text", solution)
    answer = number_answer(row, row.first("answer"))
    parts = ANNOTATION.findall(solution)
    steps = [step for part in parts for step in _aug_steps(part, f"<<{part}>>")]
    if not parts:
        steps = [step for sentence in sentences(solution) for step in _aug_steps(sentence, sentence)]
    return Problem(question, answer, tuple(steps), question_signature(question))


def _aug_steps(english: str, stated: str) -> list[Step]:
    equations = parse_equations(stated)
    if equations:
        return [Step(english, equation.claim, equation.result) for equation in equations]
    return [Step(english, english.removesuffix("."), "")]


@dataclass(frozen=True, kw_only=True)
class GSM8K(DatasetTask):
    """GSM8K from the hub or from files."""

    source: str = "openai/gsm8k"
    config: str | None = "main"

    def parse(self, row: Row) -> Problem:
        """See `gsm8k_problem`."""
        return gsm8k_problem(row)

    def canonical(self, text: str) -> str | None:
        """The first number."""
        return canonical_number(text)


@dataclass(frozen=True, kw_only=True)
class GSM8kAug(DatasetTask):
    """GSM8k-Aug, which CODI was trained on; its natural-language twin is `zen-E/GSM8k-Aug-NL`."""

    source: str = "zen-E/GSM8k-Aug"

    def parse(self, row: Row) -> Problem:
        """See `aug_problem`."""
        return aug_problem(row)

    def canonical(self, text: str) -> str | None:
        """The first number."""
        return canonical_number(text)
