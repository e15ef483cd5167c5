from __future__ import annotations

import hashlib
import re
from itertools import pairwise
from typing import Any

import pytest

from reverse_codi.tasks.arithmetic import OPERATIONS, Arithmetic, Chain, split_words, word
from reverse_codi.tasks.base import Problem, Split, TaskError

TASK = Arithmetic()
NUMBER = re.compile(r"\d+")


def value_of(expression: str) -> int:
    """Evaluate "a op b" apart from the library; a division must be exact."""
    a, operator, b = expression.split()
    x, y = int(a), int(b)
    if operator == "/":
        assert x % y == 0, expression
    return {"+": x + y, "-": x - y, "*": x * y, "/": x // y if y else 0, "%": x % y if y else 0}[operator]


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return TASK.problems(Split.TRAIN, 600, seed=0) + TASK.problems(Split.HELDOUT, 200, seed=0)


def test_a_seed_gives_the_same_problems_and_another_seed_others() -> None:
    assert TASK.problems(Split.TRAIN, 50, seed=3) == TASK.problems(Split.TRAIN, 50, seed=3)
    assert TASK.problems(Split.TRAIN, 20, seed=3) == TASK.problems(Split.TRAIN, 50, seed=3)[:20]
    assert TASK.problems(Split.TRAIN, 50, seed=3) != TASK.problems(Split.TRAIN, 50, seed=4)
    assert TASK.minimal_pairs(Split.TRAIN, 9, seed=3) == TASK.minimal_pairs(Split.TRAIN, 9, seed=3)


def test_problems_of_a_seed_never_change() -> None:
    # Models are trained on these. The mix of lengths may be tuned; what a seed gives for one may not change.
    text = "".join(p.question + p.signature for p in TASK.problems(Split.TRAIN, 200, seed=0, n_steps=3))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "b0354bce4d46f139"


def test_steps_are_true_dependent_and_end_in_the_answer(problems: list[Problem]) -> None:
    for problem in problems:
        for step in problem.steps:
            left, right = step.claim.split(" = ")
            assert value_of(left) == int(right) == int(step.result)
            assert step.claim in step.english
        for before, after in pairwise(problem.steps):
            assert after.claim.split()[0] == before.result
        assert problem.steps[-1].result == problem.answer


def test_numbers_stay_in_range(problems: list[Problem]) -> None:
    numbers = {int(n) for p in problems for c in [p.question, *p.claims] for n in NUMBER.findall(c)}
    assert min(numbers) >= 2 and max(numbers) <= TASK.max_value


def test_every_operation_and_length_occurs(problems: list[Problem]) -> None:
    assert {claim.split()[1] for p in problems for claim in p.claims} == set(OPERATIONS)
    assert {len(p.steps) for p in problems} == {1, 2, 3, 4}
    assert {len(p.steps) for p in TASK.problems(Split.TRAIN, 20, 0, n_steps=3)} == {3}


def test_splits_are_disjoint_by_signature_for_all_wordings_and_seeds() -> None:
    sides = {split: [p for s in (0, 1, 2) for p in TASK.problems(split, 400, s)] for split in Split}
    signatures = {split: {p.signature for p in side} for split, side in sides.items()}
    assert not signatures[Split.TRAIN] & signatures[Split.HELDOUT]
    # The same numbers in other words: the signature, and so the side, is the same.
    chain = Chain(12, (("+", 5), ("*", 2)))
    worded = [word(chain, seed) for seed in range(20)]
    assert len({p.question for p in worded}) > 15
    assert {p.signature for p in worded} == {chain.signature}
    # No chain of numbers, whatever its words, lies on both sides.
    numbers = {split: {tuple(p.claims) for p in side} for split, side in sides.items()}
    assert not numbers[Split.TRAIN] & numbers[Split.HELDOUT]


@pytest.mark.parametrize("split", Split)
def test_minimal_pairs_differ_in_one_number_and_in_the_answer(split: Split) -> None:
    for first, second in TASK.minimal_pairs(split, 100, seed=0):
        a, b = split_words(first.question), split_words(second.question)
        differences = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
        assert len(differences) == 1
        assert all(NUMBER.fullmatch(token) for token in differences[0])
        assert first.answer != second.answer
        assert TASK.split_of(first.signature) is TASK.split_of(second.signature) is split


def test_vocabulary_covers_every_text(problems: list[Problem]) -> None:
    words = TASK.vocabulary()
    assert len(words) == len(set(words))
    pairs = [p for pair in TASK.minimal_pairs(Split.TRAIN, 50, seed=0) for p in pair]
    for problem in problems + pairs:
        for text in (problem.question, *problem.claims, *(s.english for s in problem.steps), problem.answer):
            assert set(split_words(text)) <= set(words), text
    assert set(split_words("The answer is: (no step).")) <= set(words)


def test_extract_answer() -> None:
    assert TASK.extract_answer("12 + 5 = 17 . The answer is : 17") == "17"
    assert TASK.extract_answer("12 + 5 = 17") is None


@pytest.mark.parametrize("options", [{"heldout_percent": 0}, {"heldout_percent": 100}, {"max_value": 3}])
def test_settings_that_cannot_end_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match=next(iter(options))):
        Arithmetic(**options)
