from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from reverse_codi.tasks.base import Split, TaskError
from reverse_codi.tasks.corpus import Row
from reverse_codi.tasks.gym import ReasoningGym, draw, gym_problem

INSTALLED = importlib.util.find_spec("reasoning_gym") is not None
ASK = " Give the result as your final answer. Do not include units."


def entry(boxes: int, pens: int, name: str = "Ann") -> dict[str, Any]:
    n = boxes * pens
    lines = [f"{name} has {boxes} boxes * {pens} pens/box = {n} pens", f"{n} - 1 = {n - 1}", f"#### {n - 1}"]
    return {
        "question": f"{name} has {boxes} boxes of {pens} pens and loses 1. How many are left?{ASK}",
        "answer": str(n - 1),
        "metadata": {"answer_cot": "\n".join(lines)},
    }


def entries() -> Iterator[dict[str, Any]]:
    return (entry(i, j) for i in count(2) for j in range(2, 10))


def test_steps_lose_their_units() -> None:
    problem = gym_problem(Row("a:1", entry(3, 4)))
    assert problem.question == "Ann has 3 boxes of 4 pens and loses 1. How many are left?"
    assert problem.answer == "11"
    assert problem.claims == ["3 * 4 = 12", "12 - 1 = 11"]
    assert problem.steps[0].english == "Ann has 3 boxes * 4 pens/box = 12 pens"


@pytest.mark.parametrize(
    ("line", "claims"),
    [
        ("It takes 240 red shrimp / 12 shrimp/minute = 20 minutes", ["240 / 12 = 20"]),
        ("She did 1/2 * 300 pieces = 150 pieces.", ["1 / 2 * 300 = 150"]),
        ("The ride costs $15 because 5 x 3 = 15", ["5 * 3 = 15"]),
        ("1,200 eggs x $.5 = $600", ["1200 * 0.5 = 600"]),
        ("(2 + 3 cats) * 4 legs = 20 legs", ["(2 + 3) * 4 = 20"]),
        ("5 apples + 3 pears = 9 fruits", ["5 apples + 3 pears = 9 fruits"]),  # not true: left as it is
        ("That leaves 7 of them.", ["That leaves 7 of them"]),
    ],
)
def test_claims_of_a_line(line: str, claims: list[str]) -> None:
    row = Row("a:1", {"question": "Q?", "answer": 1, "metadata": {"answer_cot": f"{line}\n#### 1"}})
    assert gym_problem(row).claims == claims


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({}, ["short", "long", "worded", "half"]),
        ({"max_steps": 1}, ["short", "worded", "half"]),
        ({"max_words": 4}, ["short", "half"]),
        ({"max_value": 60}, ["short"]),
        ({"max_value": 59}, []),
    ],
)
def test_limits_of_difficulty(limits: dict[str, int], left: list[str]) -> None:
    solutions = {
        "short": ("How many are left?", "12 * 5 = 60"),
        "long": ("How many are left of all of them?", "12 * 5 = 60\n60 + 1 = 61"),
        "worded": ("How many are left of all of them?", "Mia finds 5 eggs"),
        "half": ("How many are left?", "7 * 0.5 = 3.5"),
    }
    task = ReasoningGym(**limits)
    problems = {
        name: gym_problem(
            Row("a:1", {"question": asked, "answer": 1, "metadata": {"answer_cot": f"{steps}\n#### 1"}})
        )
        for name, (asked, steps) in solutions.items()
    }
    found = [name for name, problem in problems.items() if task.wants(problem)]
    assert found == left


@pytest.mark.parametrize("name", ["max_steps", "max_words", "max_value"])
def test_a_limit_below_one_is_refused(name: str) -> None:
    with pytest.raises(TaskError, match=rf"{name} is 0; set it to 1 or more"):
        ReasoningGym(**{name: 0})


def test_only_wanted_problems_are_drawn() -> None:
    drawn = draw(entries(), Split.TRAIN, 12, 50, ReasoningGym(max_value=20).wants)
    assert len(drawn) == 12 and all(int(claim.split()[-1]) <= 20 for p in drawn for claim in p.claims)
    with pytest.raises(TaskError, match="or raise max_steps, max_words or max_value"):
        draw(entries(), Split.TRAIN, 500, 50, ReasoningGym(max_value=20).wants)


def test_names_are_wording() -> None:
    ann, bob, other = (gym_problem(Row("a:1", e)) for e in (entry(3, 4), entry(3, 4, "Bob"), entry(4, 3)))
    assert ann.signature == bob.signature != other.signature


def test_problems_differ_and_sides_are_apart() -> None:
    encoded = draw(entries(), Split.HELDOUT, 20, 20)
    train = draw(entries(), Split.TRAIN, 60, 20)
    assert encoded == draw(entries(), Split.HELDOUT, 30, 20)[:20]
    signatures = [p.signature for p in encoded + train]
    assert len(set(signatures)) == 80


def test_too_many_are_refused() -> None:
    few = [entry(2, 2), entry(2, 3), entry(2, 2)]
    total = sum(_available(few, split) for split in Split)
    assert total == 2
    with pytest.raises(TaskError, match=r"3 train problems asked for; no more than [012] came"):
        draw(few, Split.TRAIN, 3, 50)
    same = (entry(2, 2) for _ in count())  # a generator that never ends and has nothing new
    with pytest.raises(TaskError, match="no more than 1 came"):
        draw(same, Split.TRAIN, 2, 1)


def _available(rows: list[dict[str, Any]], split: Split) -> int:
    for n in range(len(rows), 0, -1):
        try:
            return len(draw(rows, split, n, 50))
        except TaskError:
            continue
    return 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"metadata": {}}, "a:1: 'metadata' is {}"),
        ({"metadata": None}, "answer_cot"),
        ({"answer": "many"}, "the answer is 'many'"),
        ({"question": None}, "'question' is None"),
    ],
)
def test_an_entry_without_what_it_needs_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(TaskError, match=named):
        gym_problem(Row("a:1", {**entry(2, 2), **change}))


def test_extract_answer() -> None:
    assert ReasoningGym().extract_answer("The answer is: 1,080") == "1080"
    assert ReasoningGym().extract_answer("so\n#### 7.50") == "7.5"


@pytest.mark.skipif(INSTALLED, reason="reasoning-gym is installed")
def test_a_missing_package_is_reported_with_its_install_line() -> None:
    with pytest.raises(TaskError, match="pip install reasoning-gym"):
        ReasoningGym().problems(Split.TRAIN, 1, 0)


@pytest.mark.skipif(not INSTALLED, reason="reasoning-gym is not installed")
def test_the_package() -> None:
    task = ReasoningGym()
    train, encoded = task.problems(Split.TRAIN, 60, 0), task.problems(Split.HELDOUT, 10, 0)
    assert train[:20] == task.problems(Split.TRAIN, 20, 0) and train != task.problems(Split.TRAIN, 60, 1)
    assert not {p.signature for p in train} & {p.signature for p in encoded}
    assert all(p.steps and "final answer" not in p.question for p in train)
    assert sum(bool(step.result) for p in train for step in p.steps) > 60
