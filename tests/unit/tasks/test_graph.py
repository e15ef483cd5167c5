from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from reverse_codi.tasks.arithmetic import split_words
from reverse_codi.tasks.base import Problem, Split, TaskError
from reverse_codi.tasks.graph import CLASSES, Graph

TASK = Graph(distractors=6, extra_links=4)
FACT = re.compile(r"(?:Every )?(\w+) is a (\w+)\.")
QUERY = re.compile(r"Is (\w+) a (\w+) or (\w+)\?$")


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return TASK.problems(Split.TRAIN, 200, seed=0) + TASK.problems(Split.HELDOUT, 40, seed=0)


def ways(links: dict[str, set[str]], start: str, goal: str) -> list[list[str]]:
    """Every path, by exhaustive search apart from the library; a cycle would not end."""
    if start == goal:
        return [[goal]]
    return [[start, *way] for step in sorted(links.get(start, ())) for way in ways(links, step, goal)]


def links_of(question: str) -> dict[str, set[str]]:
    links: dict[str, set[str]] = {}
    for low, high in FACT.findall(question):
        assert high not in links.setdefault(low, set()), "said twice"
        links[low].add(high)
    return links


def test_exactly_one_class_is_reached_and_by_one_way(problems: list[Problem]) -> None:
    for problem in problems:
        links = links_of(problem.question)
        query = QUERY.search(problem.question)
        assert query is not None
        name, *candidates = query.groups()
        found = {cls: ways(links, name, cls) for cls in candidates}
        (way,) = found[problem.answer]
        assert [w for cls, w in found.items() if cls != problem.answer] == [[]]
        assert [step.result for step in problem.steps] == way[1:]
        assert problem.steps[-1].result == problem.answer


def test_steps_are_stated_in_the_question(problems: list[Problem]) -> None:
    for problem in problems:
        assert all(f"{claim}." in problem.question for claim in problem.claims)
        assert [FACT.findall(step.english) != [] for step in problem.steps] == [True] * len(problem.steps)


def test_neither_order_nor_links_tell_the_answer(problems: list[Problem]) -> None:
    first = into = out = 0
    for problem in problems:
        query = QUERY.search(problem.question)
        assert query is not None
        other = next(cls for cls in query.groups()[1:] if cls != problem.answer)
        first += query[2] == problem.answer
        rules = FACT.findall(problem.question)
        highs, lows = Counter(high for _, high in rules), Counter(low for low, _ in rules)
        into += (highs[problem.answer] > highs[other]) - (highs[problem.answer] < highs[other])
        out += (lows[problem.answer] > lows[other]) - (lows[problem.answer] < lows[other])
    n = len(problems)
    assert 0.35 < first / n < 0.65
    assert abs(into) / n < 0.15 and abs(out) / n < 0.15


def test_seeds_and_lengths(problems: list[Problem]) -> None:
    assert TASK.problems(Split.TRAIN, 20, seed=3) == TASK.problems(Split.TRAIN, 30, seed=3)[:20]
    assert TASK.problems(Split.TRAIN, 20, seed=3) != TASK.problems(Split.TRAIN, 20, seed=4)
    assert {len(p.steps) for p in problems} == {2, 3, 4}
    assert {len(p.steps) for p in TASK.problems(Split.TRAIN, 10, seed=0, n_steps=5)} == {5}
    deep = Graph(step_weights=((6, 1.0),), distractors=0, extra_links=0)
    (problem,) = deep.problems(Split.TRAIN, 1, seed=0)
    assert len(problem.steps) == 6 and len(FACT.findall(problem.question)) == 12


def test_a_graph_lies_on_one_side_whoever_is_asked_about() -> None:
    # So few graphs that both sides draw each of theirs many times.
    small = Graph(step_weights=((1, 1.0),), distractors=0, extra_links=0, heldout_percent=50)

    def graphs(split: Split) -> set[tuple[str, ...]]:
        found = [sorted(QUERY.findall(p.question)[0][1:]) for p in small.problems(split, 600, seed=1)]
        return {tuple(pair) for pair in found}

    train, encoded = graphs(Split.TRAIN), graphs(Split.HELDOUT)
    assert train and encoded and not train & encoded
    assert len(train | encoded) > 0.8 * len(CLASSES) * (len(CLASSES) - 1) / 2
    signatures = [{p.signature for p in TASK.problems(split, 200, 0)} for split in Split]
    assert not signatures[0] & signatures[1]


@pytest.mark.parametrize("split", Split)
def test_minimal_pairs_exchange_two_people_and_the_answer(split: Split) -> None:
    for first, second in TASK.minimal_pairs(split, 30, seed=0):
        a, b = split_words(first.question), split_words(second.question)
        differences = {(x, y) for x, y in zip(a, b, strict=True) if x != y}
        assert len(differences) == 2 and {(y, x) for x, y in differences} == differences
        assert QUERY.findall(first.question) == QUERY.findall(second.question)
        assert {first.answer, second.answer} == set(QUERY.findall(first.question)[0][1:])
        assert first.signature != second.signature and len(first.steps) == len(second.steps)
        (way,) = ways(links_of(second.question), QUERY.findall(second.question)[0][0], second.answer)
        assert [step.result for step in second.steps] == way[1:]


def test_answers() -> None:
    said = Graph(sentence=True)
    (problem,), (short,) = (task.problems(Split.TRAIN, 1, seed=0) for task in (said, Graph()))
    assert problem.answer == f"{QUERY.findall(problem.question)[0][0]} is a {short.answer}"
    assert said.extract_answer(f"The answer is : {problem.answer} .") == problem.answer
    assert said.extract_answer(f"The answer is : {short.answer}") is None
    assert Graph().extract_answer(f"The answer is : {short.answer}") == short.answer
    assert Graph().extract_answer(f"The answer is: {problem.answer}.") == short.answer
    assert Graph().extract_answer("talvor") is None


def test_vocabulary_covers_every_text(problems: list[Problem]) -> None:
    words = TASK.vocabulary()
    assert len(words) == len(set(words)) <= 80
    for problem in problems + Graph(sentence=True).problems(Split.TRAIN, 20, seed=0):
        for text in (problem.question, *problem.claims, *(s.english for s in problem.steps), problem.answer):
            assert set(split_words(text)) <= set(words), text
    assert set(split_words("The answer is: (no step).")) <= set(words)
    assert max(len(split_words(p.question)) for p in problems) < 140


@pytest.mark.parametrize(
    "options",
    [
        {"heldout_percent": 0},
        {"distractors": 40},
        {"distractors": -1},
        {"extra_links": -1},
        {"step_weights": ()},
        {"step_weights": ((0, 1.0),)},
        {"step_weights": ((2, 0.0),)},
        {"step_weights": ((20, 1.0),)},
    ],
)
def test_settings_that_cannot_end_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match=next(iter(options))):
        Graph(**options)
