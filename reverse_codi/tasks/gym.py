"""`gsm_symbolic` of the optional package reasoning-gym: GSM8K's templates with fresh numbers, with steps."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from reverse_codi.tasks.answers import CUE, stated
from reverse_codi.tasks.base import Problem, Split, Step, TaskError, split_by_hash
from reverse_codi.tasks.corpus import Row, clean_question, signature_of
from reverse_codi.tasks.equations import Equation, parse_equations
from reverse_codi.tasks.gsm8k import number_answer
from reverse_codi.tasks.numbers import canonical_number

# The package appends this to every question, for chat models; it is not part of the problem.
_INSTRUCTION = re.compile(r"\s*Give the result as your final answer\..*$", re.DOTALL)
# Units between a number and what follows it: "240 shrimp / 12 shrimp/minute = 20 minutes".
_UNITS = re.compile(r"(?<=[\d)])(?:\s+(?!x\s)[A-Za-z][\w'-]*(?:/[A-Za-z]\w*)?)+(?=\s*[-+*/=)]|\s+x\s)")
_NUMBER = re.compile(r"\d[\d,.]*")
# Entries in one data set; entry i of seed s is entry 0 of seed s + i, so chunks follow each other.
_CHUNK = 1_000
# After this many entries without a new problem there are no more: 1 in 10 is held out, and most are new.
_PATIENCE = 5_000


def gym_problem(row: Row) -> Problem:
    """Turn an entry {question, answer, metadata: {answer_cot}} into a problem.

    A line whose equation has units ("3 boxes * 4 pens = 12 pens") claims the equation without units, if that
    is true. A line without an equation claims its words.

    Raises:
        TaskError: a field is missing, or the answer is no number.
    """
    question = clean_question(_INSTRUCTION.sub("", row.text("question")))
    answer = number_answer(row, row.first("answer"))
    metadata = row.fields.get("metadata")
    solution = metadata.get("answer_cot") if isinstance(metadata, Mapping) else None
    if not isinstance(solution, str):
        raise row.error("'metadata' is {!r:.60}; give it the steps under 'answer_cot'", metadata)
    lines = [line.strip() for line in solution.rpartition("####")[0].split("\n") if line.strip()]
    steps = tuple(step for line in lines for step in _steps(line))
    numbers = " ".join(_NUMBER.findall(question))
    # The names and goods of a template are wording: its numbers and sums are the problem.
    sums = " ".join(step.claim for step in steps if step.result)
    return Problem(question, answer, steps, signature_of(f"{numbers}|{sums}|{answer}"))


def _steps(line: str) -> list[Step]:
    equations = _equations(line)
    return [Step(line, e.claim, e.result) for e in equations] or [Step(line, line.removesuffix("."), "")]


def _equations(line: str) -> list[Equation]:
    plain = parse_equations(line)
    bare = parse_equations(_UNITS.sub("", line))
    return bare if len(bare) > len(plain) and all(equation.holds for equation in bare) else plain


def within(claim: str, most: int) -> bool:
    """Whether a claim is one equation over whole numbers up to `most`.

    >>> within("12 * 5 = 60", 60), within("7 * 0.5 = 3.5", 60), within("Mia finds 5 eggs", 60)
    (True, False, False)
    """
    numbers = _NUMBER.findall(claim)
    return len(parse_equations(claim)) == 1 and all(n.isdigit() and int(n) <= most for n in numbers)


def gsm_symbolic(seed: int) -> Iterator[Mapping[str, object]]:
    """Endless entries of the package's `gsm_symbolic`.

    Raises:
        TaskError: the package is not installed.
    """
    if importlib.util.find_spec("reasoning_gym") is None:
        raise TaskError("the task 'reasoning_gym' needs a package: pip install reasoning-gym")
    from reasoning_gym import create_dataset

    while True:
        yield from create_dataset("gsm_symbolic", size=_CHUNK, seed=seed)
        seed += _CHUNK


def draw(
    entries: Iterable[Mapping[str, object]],
    split: Split,
    n: int,
    heldout_percent: int,
    wanted: Callable[[Problem], bool] = lambda problem: True,
) -> list[Problem]:
    """The first `n` different problems of one split that lie within the limits.

    Raises:
        TaskError: there are fewer.
    """
    found: dict[str, Problem] = {}
    waited = 0
    for i, entry in enumerate(entries, start=1):
        if len(found) == n or waited == _PATIENCE:
            break
        problem = gym_problem(Row(f"gsm_symbolic:{i}", entry))
        new = problem.signature not in found
        waited += 1
        if new and split_by_hash(problem.signature, heldout_percent) is split and wanted(problem):
            found[problem.signature] = problem
            waited = 0
    if len(found) < n:
        raise TaskError(
            f"reasoning_gym: {n} {split} problems asked for; no more than {len(found)} came, set n to that, "
            "or raise max_steps, max_words or max_value where they are set"
        )
    return list(found.values())


@dataclass(frozen=True, kw_only=True)
class ReasoningGym:
    """gsm_symbolic, generated again for every seed.

    Attributes:
        heldout_percent: share of signatures, in percent, that are held out.
        max_steps: largest number of steps; None takes all problems.
        max_words: largest number of words in a question; None takes all problems.
        max_value: every step must be one equation over whole numbers up to it; None takes all problems.
    """

    heldout_percent: int = 10
    max_steps: int | None = None
    max_words: int | None = None
    max_value: int | None = None

    def __post_init__(self) -> None:
        """Refuse settings under which a split is empty."""
        if not 0 < self.heldout_percent < 100:
            raise TaskError(f"reasoning_gym: heldout_percent is {self.heldout_percent}; set it to 1..99")
        for name in ("max_steps", "max_words", "max_value"):
            most = getattr(self, name)
            if most is not None and most < 1:
                raise TaskError(f"reasoning_gym: {name} is {most}; set it to 1 or more, or leave it out")

    def wants(self, problem: Problem) -> bool:
        """Whether a problem is within the limits."""
        return (
            (self.max_steps is None or len(problem.steps) <= self.max_steps)
            and (self.max_words is None or len(problem.question.split()) <= self.max_words)
            and (self.max_value is None or all(within(claim, self.max_value) for claim in problem.claims))
        )

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Return `n` different problems of one split (the `Task` protocol)."""
        # Neighbouring seeds of the package share entries.
        digest = hashlib.sha256(f"{seed}/{split}".encode()).digest()
        start = int.from_bytes(digest[:3], "big") * _CHUNK
        return draw(gsm_symbolic(start), split, n, self.heldout_percent, self.wants)

    def extract_answer(self, text: str, cue: str = CUE) -> str | None:
        """The number that a text states (the `Task` protocol); see `answers.stated`."""
        return stated(text, canonical_number, cue)
