"""Files of questions and problems: every kind, encoding and line end, and what is none of them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from reverse_codi.tasks import make_task
from reverse_codi.tasks.base import Problem
from reverse_codi.verbalize.questions import read_questions
from tests.fuzz.cases import cases, ends_well
from tests.fuzz.damage import changed_json, damaged

# No NUL, which no text file holds, no halves of characters, and no white space alone.
words = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20
).filter(str.strip)
records = st.lists(
    st.fixed_dictionaries(
        {"question": words, "answer": words | st.integers(-(10**20), 10**20) | st.floats(-1e9, 1e9)},
        optional={"steps": st.lists(words, max_size=2), "id": st.integers()},
    ),
    min_size=1,
    max_size=4,
)


def written(rows: list[dict[str, Any]], suffix: str, encoding: str, ends: str, plain: bool) -> bytes:
    """Rows as a file of a kind."""
    if suffix == ".parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([{"question": row["question"]} for row in rows]), sink)
        return sink.getvalue()
    if suffix == ".csv":
        lines = io.StringIO(newline="")
        table = csv.writer(lines, lineterminator=ends, quoting=csv.QUOTE_ALL)
        table.writerows([["question"], *([row["question"]] for row in rows)])
        return lines.getvalue().encode(encoding)
    dumped = [json.dumps(row, ensure_ascii=plain) for row in rows]
    text = f"[{', '.join(dumped)}]" if suffix == ".json" else "".join(f"{line}{ends}" for line in dumped)
    return text.encode(encoding)


@cases("task files")
@given(
    rows=records,
    suffix=st.sampled_from([".jsonl", ".json", ".csv", ".parquet", ""]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    ends=st.sampled_from(["\n", "\r\n"]),
    plain=st.booleans(),
)
def test_what_was_written_is_read(
    rows: list[dict[str, Any]],
    suffix: str,
    encoding: str,
    ends: str,
    plain: bool,
    room: Path,
) -> None:
    file = room / f"rows{suffix}"
    file.write_bytes(written(rows, suffix, encoding, ends, plain))
    read = [one.question for one in read_questions([str(file)])]
    if suffix == ".csv":  # a cell with a line break of another kind than its file's
        assert [" ".join(text.split()) for text in read] == [
            " ".join(row["question"].split()) for row in rows
        ]
    else:
        assert read == [row["question"] for row in rows]


@cases("damaged task files")
@given(
    data=st.data(), rows=records, suffix=st.sampled_from([".jsonl", ".json", ".csv", ".parquet", ".txt", ""])
)
def test_a_damaged_file_is_read_or_named(
    data: st.DataObject, rows: list[Any], suffix: str, room: Path
) -> None:
    file = room / f"damaged{suffix}"
    text = suffix in (".jsonl", ".json", "")
    if text and data.draw(st.booleans()):
        changed = data.draw(changed_json(rows))
        kept = changed if isinstance(changed, list) else [changed]
        lines = [json.dumps(row) for row in kept]
        file.write_text(f"[{', '.join(lines)}]" if suffix == ".json" else "\n".join(lines))
    else:
        file.write_bytes(data.draw(damaged(written(rows, suffix, "utf-8", "\n", True))))
    questions = ends_well(lambda: read_questions([str(file)]), file)
    assert questions is None or all(isinstance(one.question, str) for one in questions)
    if suffix in (".jsonl", ".json", ".csv", ".parquet"):
        found = ends_well(lambda: problems(file), file)
        assert found is None or all(one.question.strip() and one.answer for one in found)


def problems(file: Path) -> list[Problem]:
    """All problems of a file, of both splits."""
    task: Any = make_task("jsonl", source=str(file))
    return [*task.corpus.train, *task.corpus.heldout]
