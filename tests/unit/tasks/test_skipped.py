"""One bad row is an error at once, or is left out and counted: the user chooses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.tasks import TASKS, make_task
from reverse_codi.tasks.base import Problem, Split, TaskError
from reverse_codi.tasks.corpus import Row, RowError
from reverse_codi.tasks.dataset import DatasetTask
from reverse_codi.tasks.skipped import Skipped

GOOD = {"question": "Q{}?", "final_ans": "7"}


def lines(path: Path, *rows: Any) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def mixed(path: Path) -> str:
    good = [{"question": f"Q{i}?", "final_ans": i} for i in range(20)]
    bad = [
        {"question": "A?", "final_ans": "many"},
        {"question": "B?", "final_ans": "few"},
        {"question": "C?", "final_ans": "some"},
        {"question": "", "final_ans": 1},
        {"final_ans": 1},
        "{",
        '{"question": ]',
        "[1]",
    ]
    return lines(path, *good[:10], *bad, *good[10:])


def test_skipped_rows_are_counted_by_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = mixed(tmp_path / "a.jsonl")
    task = make_task("multiarith", source=source, on_bad_row="skip")
    assert isinstance(task, DatasetTask)
    assert {p.answer for p in [*task.corpus.train, *task.corpus.heldout]} == {str(i) for i in range(20)}
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == f"{source}: 8 of 28 rows skipped"
    assert said[1] == f"  3 x the answer is …; give it a number (first: {source}:11)"
    assert said[2] == f"  2 x …; write one JSON object a line (first: {source}:16)"
    assert sorted(line.split(" (first")[0] for line in said[3:]) == [
        "  1 x 'question' is missing (keys: …); give it a non-empty string",
        "  1 x 'question' is …; give it a non-empty string",
        "  1 x the line holds a …; write one JSON object a line",
    ]
    caplog.clear()
    task.problems(Split.TRAIN, 5, 0)  # the file is read once
    assert not caplog.records


def test_the_first_bad_row_is_an_error_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"a\.jsonl:11: the answer is 'many'"):
        make_task("multiarith", source=mixed(tmp_path / "a.jsonl")).problems(Split.TRAIN, 1, 0)


def test_nothing_after_the_first_bad_row_is_read() -> None:
    def rows() -> Iterator[Row]:
        yield Row("a:1", {"question": "Q?"})
        yield Row("a:2", {})
        raise AssertionError("read on")

    def parse(row: Row) -> Problem:
        return Problem(row.text("question"), "1", (), "signature")

    parsed = Skipped("a", "error").parsed(rows(), parse)
    assert next(parsed).where == "a:1"
    with pytest.raises(RowError, match="a:2: 'question' is missing"):
        next(parsed)


def test_every_task_on_data_can_skip(tmp_path: Path) -> None:
    for name, kind in TASKS.items():
        if issubclass(kind, DatasetTask):
            source = lines(tmp_path / f"{name}.jsonl", {"question": 7}, "no JSON")
            with pytest.raises(TaskError, match=f"{name}.jsonl: none of 2 rows can be used: 1 x") as error:
                make_task(name, source=source, on_bad_row="skip").problems(Split.TRAIN, 1, 0)
            assert "\n" not in str(error.value)


def test_a_record_of_a_list_can_be_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"question": "Q?", "answer": 1}, 7, None]))
    task = make_task("jsonl", source=str(tmp_path / "a.json"), on_bad_row="skip")
    assert isinstance(task, DatasetTask)
    assert len(task.corpus.train + task.corpus.heldout) == 1
    with pytest.raises(TaskError, match=r"a\.json: record 2: the record is 7; write a JSON object"):
        make_task("jsonl", source=str(tmp_path / "a.json")).problems(Split.TRAIN, 1, 0)


def test_many_reasons_are_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    skipped = Skipped("a", "skip", rows=100)
    skipped.by_reason = {f"reason {i}": (i, f"a:{i}") for i in range(1, 12)}
    skipped.report()
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "a: 66 of 100 rows skipped"
    assert said[1] == "  11 x reason 11 (first: a:11)" and said[-1] == "  3 other reasons"


def test_a_plain_error_of_a_parser_is_a_reason_too() -> None:
    def parse(row: Row) -> Any:
        raise TaskError("no coin")

    skipped = Skipped("a", "skip")
    assert list(skipped.parsed([Row("a:1", {}), Row("a:2", {})], parse)) == []
    assert skipped.by_reason == {"no coin": (2, "a:1")}
