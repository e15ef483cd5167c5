"""Questions from arguments, files of every kind and standard input, each with where it stands."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from datasets import Dataset

from reverse_codi.errors import UserError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.verbalize.questions import Question, read_questions
from tests.tiny import make_tiny_traces


def test_words_are_questions_and_files_and_stores_are_passed_over(
    tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("How many?\n\n  Why? \n")
    make_tiny_traces(tiny_reasoner, tmp_path / "traces", 2)
    assert read_questions([str(tmp_path / "traces"), "Ann has 2 apples.", str(lines)]) == [
        Question("Ann has 2 apples.", "argument 2"),
        Question("How many?", f"{lines}:1"),
        Question("Why?", f"{lines}:3"),
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a"])
def test_json_lines_under_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(
        '\ufeff{"question": "Who\u2028is?", "answer": "3"}\r\n\r\n{"question": "When?"}'.encode()
    )
    assert read_questions([str(path)]) == [
        Question("Who\u2028is?", f"{path}:1"),
        Question("When?", f"{path}:3"),
    ]


@pytest.mark.parametrize("name", ["a.json", "a.txt", "a"])
def test_a_json_list_under_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text('\n[\n {"question": "Who?"},\n {"question": "When?"}\n]\n')
    assert read_questions([str(path)]) == [
        Question("Who?", f"{path}: record 1"),
        Question("When?", f"{path}: record 2"),
    ]
    path.write_text('\n[\n {"question": "Who?"},\n {"question": }\n]\n')
    with pytest.raises(UserError, match=rf"{name}:4: Expecting value"):
        read_questions([str(path)])


def test_tables(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('question,answer\n"How many, then?",3\n')
    Dataset.from_list([{"question": "Who?"}, {"question": "When?"}]).to_parquet(tmp_path / "a.parquet")
    assert read_questions([str(tmp_path / "a.csv")]) == [
        Question("How many, then?", f"{tmp_path / 'a.csv'}:2")
    ]
    assert [q.question for q in read_questions([str(tmp_path / "a.parquet")])] == ["Who?", "When?"]


def test_lines_that_only_look_like_something_else_are_questions(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("[bold]Ann[/bold] has 3.\na\u2028b\x85c\n<eos>\n")
    assert [q.question for q in read_questions([str(path)])] == [
        "[bold]Ann[/bold] has 3.",
        "a\u2028b\x85c",
        "<eos>",
    ]


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    content = '{"question": "How many?"}\n{"question": "Why?"}\n'
    for words in ([], ["-"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
        assert read_questions(words) == [
            Question("How many?", "standard input:1"),
            Question("Why?", "standard input:2"),
        ]


def test_a_question_may_be_longer_than_a_files_name() -> None:
    long = "Ann picks 3 more. " * 30
    assert read_questions([long, "7", "烏瑪有9個杯子。還剩幾個"]) == [
        Question(long, "argument 1"),
        Question("7", "argument 2"),
        Question("烏瑪有9個杯子。還剩幾個", "argument 3"),
    ]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"question": "Who?"}\n{"prompt": "Who?"}', r"a:2: 'question' is missing \(keys: prompt\)"),
        ('{"question": null}', "a:1: 'question' is None; give it a non-empty string"),
        ('{"question": ["Who?"]}', r"a:1: 'question' is \['Who\?'\]"),
        ('{"question": "Who?"}\nWhen?', "a:2: .*write one JSON object a line"),
        ('Who?\n\n{"question": "When?"}', "a:3 is JSON among plain lines"),
        ('["Who?"]', r"a: record 1.* is 'Who\?'; write a JSON object"),
    ],
)
def test_what_is_no_question_is_named_with_its_line(tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / "a").write_text(content)
    with pytest.raises(UserError, match=named):
        read_questions([str(tmp_path / "a")])


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("runs/rows.jsonl", r"argument 2: runs/rows\.jsonl is no file, and a question has more"),
        ("my rows.jsonl", r"argument 2: my rows\.jsonl is no file"),
        ("runs/traces", "argument 2: runs/traces is no file"),
        ('{"question": "Who?"}', "argument 2 is JSON; write the question alone"),
        (json.dumps([{"question": "Who?"}]), "argument 2 is JSON"),
        (".", r"\. is a folder, and no trace store"),
    ],
)
def test_what_is_neither_question_nor_file_is_named(word: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        read_questions(["Ann has 2 apples.", word])


@pytest.mark.parametrize("name", ["a", "a.jsonl", "a.csv"])
def test_a_file_without_a_question_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    (tmp_path / "b").write_text("Ann has 12.")
    with pytest.raises(UserError, match=rf"{name} holds no question$"):
        read_questions([str(tmp_path / "b"), str(tmp_path / name)])


def test_an_empty_question_is_for_the_one_who_asks(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": " "}\n')
    assert [q.question for q in read_questions(["", str(tmp_path / "a.jsonl")])] == ["", " "]
