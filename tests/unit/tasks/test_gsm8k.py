from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.tasks import make_task
from reverse_codi.tasks.base import Problem, Split, TaskError
from reverse_codi.tasks.gsm8k import GSM8K

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
    with pytest.raises(TaskError, match=r"bad.jsonl:1: .*UTF-8"):
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
    with pytest.raises(TaskError, match=r"offline; set task.options.source"):
        everything(GSM8K())


@pytest.mark.parametrize(
    ("text", "answer"),
    [("The answer is: 1,080", "1080"), ("12+5=<<12+5=17>>17\n#### 17", "17"), ("12 + 5 = 17", None)],
)
def test_extract_answer(text: str, answer: str | None) -> None:
    assert GSM8K().extract_answer(text) == answer


@pytest.mark.skipif(not SHARED.exists(), reason="shared data is absent")
def test_the_real_training_set(tmp_path: Path) -> None:
    lines = (SHARED / "train.jsonl").read_text().splitlines()[::10]
    task = make_task("gsm8k", source=str(write(tmp_path / "sample.jsonl", *lines)))
    problems = task.problems(Split.TRAIN, 600, seed=0)
    # Where they differ, the last line of the solution carries no annotation.
    agree = [p.steps[-1].result == p.answer for p in problems if p.steps]
    assert len(agree) > 580 and sum(agree) / len(agree) > 0.9
    assert all("<<" not in step.english for p in problems for step in p.steps)
