"""Tasks on public data but for GSM8K: rows written here in each format, real ones where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.tasks import Task, make_task
from reverse_codi.tasks.base import Problem, Split, TaskError
from reverse_codi.tasks.dataset import DatasetTask

PROSQA = Path(__file__).parents[3] / "../shared/data/prosqa"
COT = "Fish need water. A desert has none."
PRONTO = {
    "question": "Every wug is a zim. Zims are not opaque. Max is a wug.",
    "query": "True or false: Max is opaque.",
    "chain_of_thought": ["Max is a wug.", "Every wug is a zim.", "Max is a zim.", "Zims are not opaque."],
    "answer": "False",
}


def write(path: Path, rows: Any) -> str:
    path.write_text(json.dumps(rows))
    return str(path)


def everything(task: Task) -> list[Problem]:
    assert isinstance(task, DatasetTask)
    return [*task.corpus.train, *task.corpus.heldout]


# task, row, question, answer, claims, results, what a model says
GOOD: list[tuple[str, dict[str, Any], str, str, list[str], list[str], str]] = [
    (
        "svamp",
        {
            "Body": "Ed has 8.0 pens ",
            "Question": " How many are left?",
            "Equation": "( 8.0 - 3.0 )",
            "Answer": 5.0,
        },
        "Ed has 8.0 pens How many are left?",
        "5",
        ["8 - 3 = 5"],
        ["5"],
        "The answer is: 5",
    ),
    (
        "svamp",
        {
            "question_concat": "Ed has 1,500.  How many?",
            "Equation": "( ( 1500.0 / 3.0 ) + 0.5 )",
            "Answer": "500.5",
        },
        "Ed has 1,500. How many?",
        "500.5",
        ["1500 / 3 + 0.5 = 500.5"],
        ["500.5"],
        "The answer is: 500.50",
    ),
    ("multiarith", {"question": " Q? ", "final_ans": "1,080"}, "Q?", "1080", [], [], "The answer is: 1,080"),
    (
        "gsm_hard",
        {"input": "Q?", "code": "x", "target": 64.39999999999999},
        "Q?",
        "64.4",
        [],
        [],
        "#### 64.4",
    ),
    (
        "gsm_hard",
        {"input": "Q?", "target": -9867630.0},
        "Q?",
        "-9867630",
        [],
        [],
        "The answer is: -9,867,630",
    ),
    ("gsm_hard", {"instruction": "Q?", "response": "2+2\n#### 4.0"}, "Q?", "4", [], [], "The answer is: 4"),
    (
        "prosqa",
        {
            "question": "Sally is a rompus. Every rompus is an impus. Is Sally a impus or fosk?",
            "answer": "Sally is a impus.",
            "steps": ["Sally is a rompus.", "Every rompus is an impus."],
            "edges": [[0, 1]],
        },
        "Sally is a rompus. Every rompus is an impus. Is Sally a impus or fosk?",
        "Sally is a impus",
        ["Sally is a rompus", "Every rompus is an impus"],
        ["rompus", "impus"],
        "The answer is: Sally is a impus.",
    ),
    (
        "prontoqa",
        {"test_example": PRONTO, "in_context_example0": {}},
        f"{PRONTO['question']} {PRONTO['query']}",
        "False",
        ["Max is a wug", "Every wug is a zim", "Max is a zim", "Zims are not opaque"],
        ["wug", "zim", "zim", ""],
        "The answer is: False",
    ),
    (
        "prontoqa",
        {"question": "Q?", "answer": "True", "steps": ["Max is a wug. Every wug is a zim.", "Max is a zim."]},
        "Q?",
        "True",
        ["Max is a wug", "Every wug is a zim", "Max is a zim"],
        ["wug", "zim", "zim"],
        "### True",
    ),
    (
        "prontoqa",
        {"context": "Max is a wug.", "question": "True or false? Max is shy.", "answer": "B"},
        "Max is a wug. True or false? Max is shy.",
        "False",
        [],
        [],
        "The answer is: false",
    ),
    (
        "commonsenseqa",
        {"question": "Where are fish?\nA: sea B: desert", "cot": COT, "answer": "A"},
        "Where are fish?\nA: sea B: desert",
        "A",
        ["Fish need water", "A desert has none"],
        ["", ""],
        "The answer is: A",
    ),
    (
        "strategyqa",
        {"question": "Do fish live in deserts?", "cot": COT, "answer": False},
        "Do fish live in deserts?",
        "False",
        ["Fish need water", "A desert has none"],
        ["", ""],
        "The answer is: No",
    ),
    (
        "strategyqa",
        {"question": "Q?", "cot": COT, "answer": "true"},
        "Q?",
        "True",
        COT[:-1].split(". "),
        ["", ""],
        "### yes",
    ),
]


@pytest.mark.parametrize(("name", "row", "question", "answer", "claims", "results", "said"), GOOD)
def test_a_row(
    tmp_path: Path,
    name: str,
    row: dict[str, Any],
    question: str,
    answer: str,
    claims: list[str],
    results: list[str],
    said: str,
) -> None:
    task = make_task(name, source=write(tmp_path / "a.json", [row]))
    (problem,) = everything(task)
    assert (problem.question, problem.answer, problem.claims) == (question, answer, claims)
    assert [step.result for step in problem.steps] == results
    assert task.extract_answer(said) == task.extract_answer(f"The answer is: {answer}") == answer
    assert task.extract_answer("I do not say.") is None


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("svamp", {"Body": "Ed has pens.", "Answer": 1}, "'Question' is missing"),
    ("svamp", {"question_concat": "Q?", "Answer": "many"}, "the answer is 'many'"),
    ("multiarith", {"question": "Q?"}, "'final_ans' or 'answer' is missing"),
    ("multiarith", {"question": "Q?", "final_ans": True}, "'final_ans' is True"),
    ("gsm_hard", {"input": "Q?", "target": None}, "'target' or 'response' is missing"),
    ("gsm_hard", {"target": 1}, "'input' or 'instruction' is missing"),
    ("prosqa", {"question": "Q?", "answer": "lempus", "steps": []}, "'lempus'; write it like"),
    ("prosqa", {"question": "Q?", "answer": "Tom is a x.", "steps": "Tom."}, "'steps' is 'Tom.'"),
    ("prosqa", {"question": "Q?", "answer": "Tom is a x."}, "'steps' is None"),
    ("prosqa", {"question": "Q?", "answer": "Tom is a x.", "steps": ["Tom is a x.", 3]}, "'steps' is"),
    ("prosqa", {"text": "a line"}, "'question' is missing (keys: text)"),
    ("prontoqa", {"question": "Q?", "answer": "C", "steps": []}, "the answer is 'C'"),
    ("prontoqa", {"test_example": {**PRONTO, "query": ""}}, "'query' is ''"),
    ("prontoqa", {"context": "C.", "question": "Q?"}, "'answer' is missing"),
    ("commonsenseqa", {"question": "Q?", "cot": COT, "answer": "F"}, "a letter A to E"),
    ("commonsenseqa", {"question": "Q?", "answer": "A"}, "'cot' is missing"),
    ("strategyqa", {"question": "Q?", "cot": COT, "answer": "A"}, "give it true or false"),
    ("strategyqa", {"question": "Q?", "cot": COT}, "'answer' is missing"),
]


@pytest.mark.parametrize(("name", "row", "named"), BAD)
def test_a_malformed_row_is_named(tmp_path: Path, name: str, row: dict[str, Any], named: str) -> None:
    good = next(fields for task, fields, *_ in GOOD if task == name)
    source = tmp_path / "a.jsonl"
    source.write_text(f"{json.dumps(good)}\n{json.dumps(row)}\n")
    with pytest.raises(TaskError) as error:
        make_task(name, source=str(source)).problems(Split.TRAIN, 1, 0)
    assert f"{source}:2: " in str(error.value) and named in str(error.value)


def test_hub_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = []
    rows = [{"question": f"Q{i}?", "cot": COT, "answer": "A"} for i in range(40)]
    yes = [{**row, "answer": True} for row in rows]
    hub: dict[str, dict[str, list[dict[str, Any]]]] = {
        "zen-E/CommonsenseQA-GPT4omini": {"train": rows[:20], "validation": rows[19:21]},
        "zen-E/StrategyQA_CoT_GPT4o": {"train": yes},
    }

    def load(name: str, config: str | None) -> dict[str, list[dict[str, Any]]]:
        asked.append((name, config))
        return hub[name]

    monkeypatch.setattr(datasets, "load_dataset", load)
    commonsense = make_task("commonsenseqa")
    assert {p.question for p in commonsense.problems(Split.HELDOUT, 2, 0)} == {"Q19?", "Q20?"}
    assert {p.question for p in commonsense.problems(Split.TRAIN, 19, 0)} == {f"Q{i}?" for i in range(19)}
    strategy = make_task("strategyqa", heldout_percent=30)
    assert isinstance(strategy, DatasetTask)
    sides = strategy.corpus
    assert len(sides.train) + len(sides.heldout) == 40 and 3 < len(sides.heldout) < 25
    everything_out = make_task("strategyqa", heldout_split="train")
    assert len(everything_out.problems(Split.HELDOUT, 40, 0)) == 40
    with pytest.raises(TaskError, match="1 train problems asked for; set n to at most 0"):
        everything_out.problems(Split.TRAIN, 1, 0)
    with pytest.raises(TaskError, match="no split 'dev' to hold out; it has train, validation"):
        make_task("commonsenseqa", heldout_split="dev").problems(Split.TRAIN, 1, 0)
    assert asked[0] == ("zen-E/CommonsenseQA-GPT4omini", None)


def test_seeds_shuffle(tmp_path: Path) -> None:
    rows = [{"question": f"Q{i}?", "final_ans": i} for i in range(60)]
    task = make_task("multiarith", source=write(tmp_path / "a.json", rows))
    assert task.problems(Split.TRAIN, 20, 1) == task.problems(Split.TRAIN, 30, 1)[:20]
    assert task.problems(Split.TRAIN, 20, 1) != task.problems(Split.TRAIN, 20, 2)


@pytest.mark.skipif(not PROSQA.exists(), reason="shared data is absent")
def test_real_prosqa_rows() -> None:
    task = make_task("prosqa", source=str(PROSQA))
    problems = everything(task)
    assert len(problems) == 300
    for problem in problems:
        assert problem.steps[-1].result == problem.answer.split()[-1]
        assert problem.claims[0].startswith(f"{problem.answer.split()[0]} is a ")
        assert all(step.claim in problem.question for step in problem.steps)
        assert task.extract_answer(f"The answer is: {problem.answer}.") == problem.answer
