from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.tasks.base import Problem, Split, Step, TaskError
from reverse_codi.tasks.jsonl import JsonLines

PROSQA = Path(__file__).parents[3] / "../shared/data/prosqa/valid.json"


def task_of(path: Path, *rows: Any) -> JsonLines:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return JsonLines(source=str(path))


def only(task: JsonLines) -> Problem:
    (problem,) = [*task.corpus.train, *task.corpus.heldout]
    return problem


@pytest.mark.parametrize(
    ("value", "steps"),
    [
        ("Ann has 12+5=17 apples.", [Step("Ann has 12+5=17 apples.", "12 + 5 = 17", "17")]),
        ("<<16-3-4=9>>", [Step("<<16-3-4=9>>", "16 - 3 - 4 = 9", "9")]),
        ("Tom is a terpus.", [Step("Tom is a terpus.", "Tom is a terpus.", "")]),
        (
            "3+4=7 and 7*2=14",
            [Step("3+4=7 and 7*2=14", "3 + 4 = 7", "7"), Step("3+4=7 and 7*2=14", "7 * 2 = 14", "14")],
        ),
        ({"claim": "3+4=7"}, [Step("3 + 4 = 7", "3 + 4 = 7", "7")]),
        ({"english": "It makes 3+4=7."}, [Step("It makes 3+4=7.", "3 + 4 = 7", "7")]),
        ({"english": "Tom.", "claim": "terpus", "result": "t"}, [Step("Tom.", "terpus", "t")]),
    ],
)
def test_steps(tmp_path: Path, value: Any, steps: list[Step]) -> None:
    problem = only(task_of(tmp_path / "a.jsonl", {"question": "Q?", "answer": "7", "steps": [value]}))
    assert list(problem.steps) == steps


@pytest.mark.parametrize("extra", [{}, {"steps": []}, {"steps": None}, {"steps": [], "graph": [1]}])
def test_steps_may_be_empty(tmp_path: Path, extra: dict[str, Any]) -> None:
    assert only(task_of(tmp_path / "a.jsonl", {"question": "Q?", "answer": "7", **extra})).steps == ()


def test_numbers_are_compared_as_numbers(tmp_path: Path) -> None:
    answers = ["1,080", "$7.50", 3, 2.0, "-4", ".5"]
    task = task_of(tmp_path / "a.jsonl", *({"question": f"Q{i}", "answer": a} for i, a in enumerate(answers)))
    found = {p.question: p.answer for p in [*task.corpus.train, *task.corpus.heldout]}
    assert [found[f"Q{i}"] for i in range(6)] == ["1080", "7.5", "3", "2", "-4", "0.5"]
    assert task.numeric
    assert task.extract_answer("The answer is: 1,080 eggs") == "1080"


def test_other_answers_are_compared_as_text(tmp_path: Path) -> None:
    task = task_of(
        tmp_path / "a.jsonl",
        {"question": "a", "answer": "Tom  is a lempus."},
        {"question": "b", "answer": "7"},
    )
    assert not task.numeric
    assert {p.answer for p in [*task.corpus.train, *task.corpus.heldout]} == {"Tom is a lempus", "7"}
    assert task.extract_answer("The answer is: Tom is a lempus.") == "Tom is a lempus"
    assert task.extract_answer("The answer is:") is None
    assert task.extract_answer("Tom is a lempus.") is None


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", "JSON"),
        ('"text"', "str"),
        ({"answer": "1"}, "question"),
        ({"question": "Q?"}, "answer"),
        ({"question": "Q?", "answer": None}, "answer"),
        ({"question": "Q?", "answer": True}, "answer"),
        ({"question": "Q?", "answer": "1", "steps": "3+4=7"}, "steps"),
        ({"question": "Q?", "answer": "1", "steps": ["3+4=7", 7]}, "step 2"),
        ({"question": "Q?", "answer": "1", "steps": [""]}, "step 1"),
        ({"question": "Q?", "answer": "1", "steps": [{}]}, "step 1"),
        ({"question": "Q?", "answer": "1", "steps": [{"clam": "3+4=7"}]}, "clam"),
        ({"question": "Q?", "answer": "1", "steps": [{"claim": 7}]}, "claim"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: Any, named: str) -> None:
    task = task_of(tmp_path / "bad.jsonl", {"question": "fine", "answer": "1"}, line)
    with pytest.raises(TaskError) as error:
        task.problems(Split.TRAIN, 1, 0)
    assert f"{tmp_path / 'bad.jsonl'}:2:" in str(error.value) and named in str(error.value)


@pytest.mark.skipif(not PROSQA.exists(), reason="shared data is absent")
def test_steps_without_equations_of_a_real_set(tmp_path: Path) -> None:
    rows = json.loads(PROSQA.read_text())
    task = task_of(tmp_path / "prosqa.jsonl", *rows)
    problems = task.problems(Split.TRAIN, 200, seed=0)
    assert all(step.claim == step.english and step.result == "" for p in problems for step in p.steps)
    assert all(task.extract_answer(f"The answer is: {p.answer}.") == p.answer for p in problems)
