from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.errors import UserError
from reverse_codi.tasks import make_task
from reverse_codi.tasks.base import Problem, Split, TaskError
from reverse_codi.tasks.gsm8k import GSM8K, GSM8kAug

SHARED = Path(__file__).parents[3] / "../shared/data/gsm8k"
ANSWER = (
    "He sells 48/2 = <<48/2=24>>24 eggs.\n"
    "He keeps some.\n"
    "That is 24*$.5 = $<<24*.5=12>>12 and 16-3-4 = <<16-3-4=9>>9 left.\n"
    "#### 1,080"
)


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def rows(n: int, start: int = 0) -> list[dict[str, str]]:
    return [
        {"question": f"Q{i}?", "answer": f"It is {i}+1=<<{i}+1={i + 1}>>{i + 1}.\n#### {i + 1}"}
        for i in range(start, start + n)
    ]


def everything(task: GSM8K) -> list[Problem]:
    return [*task.corpus.train, *task.corpus.heldout]


def test_steps_come_from_the_annotations(tmp_path: Path) -> None:
    source = write(tmp_path / "one.jsonl", {"question": "How many?", "answer": ANSWER})
    (problem,) = everything(GSM8K(source=str(source)))
    assert problem.answer == "1080"
    assert problem.claims == ["48 / 2 = 24", "24 * 0.5 = 12", "16 - 3 - 4 = 9"]
    assert [step.result for step in problem.steps] == ["24", "12", "9"]
    assert problem.steps[0].english == "He sells 48/2 = 24 eggs."
    assert problem.steps[1].english == problem.steps[2].english == "That is 24*$.5 = $12 and 16-3-4 = 9 left."


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{not json", "JSON"),
        ("[1, 2]", "list"),
        ({"answer": "#### 1"}, "question"),
        ({"question": "Q?"}, "answer"),
        ({"question": " ", "answer": "#### 1"}, "question"),
        ({"question": "Q?", "answer": "no result"}, "####"),
        ({"question": "Q?", "answer": "#### many"}, "####"),
        ({"question": "Q?", "answer": 3}, "answer"),
        ({"question": "Q?", "answer": "<<3+=4>>\n#### 4"}, "3+=4"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: Any, named: str) -> None:
    source = write(tmp_path / "bad.jsonl", rows(1)[0], "", line)
    with pytest.raises(TaskError) as error:
        GSM8K(source=str(source)).problems(Split.TRAIN, 1, 0)
    assert f"{source}:3:" in str(error.value) and named in str(error.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    source = tmp_path / "bad.jsonl"
    source.write_bytes(b'{"question": "\xff", "answer": "#### 1"}\n')
    with pytest.raises(UserError, match=r"bad.jsonl:1: byte 0xff at column 15 is no UTF-8"):
        everything(GSM8K(source=str(source)))


def test_one_file_is_split_by_hash(tmp_path: Path) -> None:
    source = write(tmp_path / "train.jsonl", *rows(300))
    task = GSM8K(source=str(source), heldout_percent=20)
    train, heldout = task.corpus.train, task.corpus.heldout
    assert len(train) + len(heldout) == 300 and 30 < len(heldout) < 90
    assert not {p.signature for p in train} & {p.signature for p in heldout}
    reversed_source = write(tmp_path / "reversed.jsonl", *rows(300)[::-1])
    other = GSM8K(source=str(reversed_source), heldout_percent=20)
    assert {p.signature for p in other.corpus.heldout} == {p.signature for p in heldout}
    assert GSM8K(source=str(tmp_path), heldout_percent=20).corpus.heldout[0] in heldout  # a folder of files


def test_a_folder_with_both_files_keeps_its_split(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", *rows(20), {"question": " q25?  ", "answer": "#### 26"})
    write(tmp_path / "test.jsonl", *rows(10, start=20), rows(1, start=20)[0])
    task = GSM8K(source=str(tmp_path))
    assert {p.question for p in task.corpus.train} == {f"Q{i}?" for i in range(20)}  # Q25 is held out
    assert {p.question for p in task.corpus.heldout} == {f"Q{i}?" for i in range(20, 30)}


def test_problems_follow_seed_and_number(tmp_path: Path) -> None:
    task = GSM8K(source=str(write(tmp_path / "a.jsonl", *rows(50))))
    some = task.problems(Split.TRAIN, 20, seed=0)
    assert some == task.problems(Split.TRAIN, 30, seed=0)[:20]
    assert some != task.problems(Split.TRAIN, 20, seed=1)
    assert len({p.signature for p in some}) == 20
    n = len(task.corpus.train)
    with pytest.raises(TaskError, match=f"51 train problems asked for; set n to at most {n}"):
        task.problems(Split.TRAIN, 51, seed=0)


@pytest.mark.parametrize("source", ["no/such/file.jsonl", "missing.jsonl", "data/missing.jsonl", "nothing"])
def test_a_source_that_is_not_there_is_named(source: str) -> None:
    with pytest.raises(TaskError, match=source):
        everything(GSM8K(source=source))


def test_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load(name: str, config: str) -> dict[str, list[dict[str, str]]]:
        assert (name, config) == ("openai/gsm8k", "main")
        return {"train": rows(5), "test": [*rows(2, start=5), {"question": "Q?", "answer": "none"}]}

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(TaskError, match="openai/gsm8k test:3"):
        everything(GSM8K())

    def offline(name: str, config: str) -> None:
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(TaskError, match=r"offline; set task.path"):
        everything(GSM8K())


@pytest.mark.parametrize(
    ("text", "answer"),
    [("The answer is: 1,080", "1080"), ("12+5=<<12+5=17>>17\n#### 17", "17"), ("12 + 5 = 17", None)],
)
def test_extract_answer(text: str, answer: str | None) -> None:
    assert GSM8K().extract_answer(text) == answer


@pytest.mark.skipif(not SHARED.exists(), reason="shared data is absent")
def test_the_real_training_set() -> None:
    task = make_task("gsm8k", source=str(SHARED / "train.jsonl"))
    problems = task.problems(Split.TRAIN, 6_600, seed=0)
    # Where they differ, the last line of the solution carries no annotation.
    agree = [p.steps[-1].result == p.answer for p in problems if p.steps]
    assert len(agree) > 6_400 and sum(agree) / len(agree) > 0.9
    assert all("<<" not in step.english for p in problems for step in p.steps)
    assert all(task.extract_answer(f"The answer is: {p.answer}") == p.answer for p in problems)


def test_the_training_question_that_the_test_split_repeats_is_held_out_in_json_too(tmp_path: Path) -> None:
    (tmp_path / "gsm_train.json").write_text(json.dumps(rows(4)))
    (tmp_path / "gsm_test.json").write_text(json.dumps(rows(2, start=3)))
    task = GSM8K(source=str(tmp_path))
    assert [p.question for p in task.corpus.train] == ["Q0?", "Q1?", "Q2?"]
    assert [p.question for p in task.corpus.heldout] == ["Q3?", "Q4?"]


def test_questions_are_asked_as_in_published_evaluations(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", {"question": " He  has one. \n", "answer": "#### 1"})
    assert [p.question for p in everything(GSM8K(source=str(source)))] == ["He has one."]


# ---- GSM8k-Aug

AUG = [
    {
        "question": "How many?",
        "cot": "<<1,200*.5=600>> <<600/48=12.5>> <<half=6>>",
        "answer": "1,200.50",
    },
    {
        "question": "How many?",
        "steps": ["<<1,200*.5=600>>", "<<600/48=12.5>>", "<<half=6>>"],
        "answer": "1200.5",
    },
    "How many?||<<1,200*.5=600>> <<600/48=12.5>> <<half=6>> #### 1200.5",
]


@pytest.mark.parametrize("row", AUG, ids=["hub", "coconut", "text"])
def test_the_three_layouts_of_gsm8k_aug_are_one_problem(tmp_path: Path, row: Any) -> None:
    source = write(tmp_path / ("a.txt" if isinstance(row, str) else "a.jsonl"), row)
    (problem,) = [*(corpus := GSM8kAug(source=str(source)).corpus).train, *corpus.heldout]
    assert (problem.question, problem.answer) == ("How many?", "1200.5")
    assert problem.claims == ["1200 * 0.5 = 600", "600 / 48 = 12.5", "half=6"]
    assert [step.result for step in problem.steps] == ["600", "12.5", ""]


def test_natural_language_solutions_are_read_by_sentence(tmp_path: Path) -> None:
    row = {"question": "Q?", "cot": "He has 2 * 3 = 6 eggs. He likes them. Then 6 - 1 = 5.", "answer": "5"}
    (problem,) = [*(c := GSM8kAug(source=str(write(tmp_path / "a.jsonl", row))).corpus).train, *c.heldout]
    assert problem.claims == ["2 * 3 = 6", "He likes them", "6 - 1 = 5"]


def test_a_text_folder_keeps_its_split(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "A?||<<1+1=2>> #### 2", "", "B?||<<1+2=3>> #### 3", "C?|| #### 4")
    write(tmp_path / "valid.txt", "V?||<<1+1=2>> #### 2")
    write(tmp_path / "test.txt", "b?||<<1+2=3>> #### 3")
    task = GSM8kAug(source=str(tmp_path))
    assert [p.question for p in task.problems(Split.HELDOUT, 1, 0)] == ["b?"]  # the held-out side wins
    assert {p.question for p in task.problems(Split.TRAIN, 2, 0)} == {"A?", "C?"}
    other = GSM8kAug(source=str(tmp_path), heldout_split="test+validation")
    assert {p.question for p in other.problems(Split.HELDOUT, 2, 0)} == {"b?", "V?"}


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("no separator #### 2", "question||steps #### answer"),
        ("Q?||<<1+1=2>> 2", "question||steps #### answer"),
        ("Q?||<<1+1=2>> #### two", "two"),
        ("Q?||<<1+1=2>> ####", "answer"),
    ],
)
def test_a_malformed_text_line_is_named_or_left_out(tmp_path: Path, line: str, named: str) -> None:
    source = str(write(tmp_path / "a.txt", "A?||<<1+1=2>> #### 2", line))
    with pytest.raises(TaskError) as error:
        GSM8kAug(source=source).problems(Split.TRAIN, 1, 0)
    assert f"{source}:2:" in str(error.value) and named in str(error.value)
    corpus = GSM8kAug(source=source, on_bad_row="skip").corpus
    assert [p.question for p in corpus.train + corpus.heldout] == ["A?"]
