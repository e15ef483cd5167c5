from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from reverse_codi.errors import UserError
from reverse_codi.tasks.base import TaskError
from reverse_codi.tasks.source import POOL, read_splits
from tests.damage import parquet_of_no_text


def read(source: str | Path) -> dict[str, list[tuple[str, object]]]:
    """Splits as (where, value of "n" or "text")."""
    return {
        split: [(row.where, row.fields.get("n", row.fields.get("text"))) for row in rows]
        for split, rows in read_splits(str(source)).items()
    }


def test_one_file_is_one_pool(tmp_path: Path) -> None:
    lines, text = tmp_path / "train.jsonl", tmp_path / "a.txt"
    lines.write_text('{"n": 1}\n\n{"n": 2}\n')
    text.write_bytes("one\u2028line\r\n\ntwo".encode())
    whole = tmp_path / "a.json"
    whole.write_text('[{"n": 1}, {"n": 2}]')
    named = tmp_path / "b.json"
    named.write_text('{"example1": {"n": 1}}')
    assert read(lines) == {POOL: [(f"{lines}:1", 1), (f"{lines}:3", 2)]}
    # Other line ends than \n are part of a line: GSM8k-Aug has some.
    assert read(text) == {POOL: [(f"{text}:1", "one\u2028line"), (f"{text}:3", "two")]}
    assert read(whole) == {POOL: [(f"{whole}: record 1", 1), (f"{whole}: record 2", 2)]}
    assert read(named) == {POOL: [(f"{named}: record example1", 1)]}


def test_files_of_a_folder_belong_to_the_split_of_their_names(tmp_path: Path) -> None:
    for n, name in enumerate(["x_train.json", "x-valid.json", "test-00000-of-00001.json", "notes.json"]):
        (tmp_path / name).write_text(json.dumps([{"n": n}]))
    (tmp_path / "readme.md").write_text("no data")
    found = {split: [n for _, n in rows] for split, rows in read(tmp_path).items()}
    assert found == {"train": [0], "validation": [1], "test": [2]}
    (tmp_path / "x_train.json").unlink()
    assert sorted(n for _, n in read(tmp_path)[POOL]) == [1, 2, 3]  # nothing to train on: one pool


def test_what_datasets_wrote(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    table = Dataset.from_list([{"n": 1}, {"n": 2}])
    table.to_parquet(tmp_path / "a.parquet")
    table.save_to_disk(tmp_path / "one")
    DatasetDict(train=table, test=table.select([1])).save_to_disk(tmp_path / "two")
    parquet = tmp_path / "a.parquet"
    assert read(parquet) == {POOL: [(f"{parquet}:1", 1), (f"{parquet}:2", 2)]}
    assert [n for _, n in read(tmp_path / "one")[POOL]] == [1, 2]
    two = tmp_path / "two"
    assert read(two)["test"] == [(f"{two} test:1", 2)] and len(read(two)["train"]) == 2
    broken = tmp_path / "b.parquet"
    broken.write_bytes(b"PAR1")
    with pytest.raises(TaskError, match=r"b\.parquet: .*is it a parquet file\?"):
        read(broken)
    parquet_of_no_text(broken, pa.table({"text": ["plain", "word"]}), b"word")
    with pytest.raises(TaskError, match=r"b\.parquet: .*UTF8.*is it a parquet file\?"):
        read(broken)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.json", '[{"n": 1},\n {"n": }]', r"a\.json:2: Expecting value"),
        ("a.json", "[1]", r"a\.json: record 1: the record is 1; write a JSON object"),
        ("a.json", '"text"', r"a\.json: holds 'text'; write a JSON list"),
        ("a.json", "{}", r"a\.json: holds {}; write a JSON list"),
        ("a.jsonl", '{"n": 1}\n{"n"', r"a\.jsonl:2: "),
        ("a.csv", "n,m\n1,2\n3\n", r"a\.csv:3: 1 cells for 2 columns"),
        ("a.csv", "n,n\n1,2\n", r"a\.csv:1: the columns are \['n', 'n'\]"),
        ("a.csv", 'n\n"1"2\n', r"a\.csv:2: .*is it a CSV file"),
        ("a.yaml", "n: 1", r"a \.yaml file cannot be read; use \.jsonl, \.json"),
        ("a", "n", r"a nameless file cannot be read"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, name: str, content: str, named: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(TaskError, match=named):
        for rows in read_splits(str(tmp_path / name)).values():
            for row in rows:
                row.first("n")


@pytest.mark.parametrize("name", ["a.txt", "a.json", "a.jsonl", "a.csv"])
def test_bytes_that_are_no_text_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b'{}\r\n"\xff"\n')
    with pytest.raises(UserError, match=rf"{name}:2: byte 0xff at column 2 is no UTF-8; save the file as"):
        read(tmp_path / name)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_reader_reads_every_encoding_and_line_end(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""  # these write none themselves
    for name, content in {
        "a.jsonl": '{"text": "cafe\u0301"}\r\n\r\n{"text": "a\u2028b"}\r\n',
        "a.json": '[{"text": "cafe\u0301"},\r\n {"text": "a\u2028b"}]',
        "a.txt": "cafe\u0301\r\n\r\na\u2028b\r\n",
        "a.csv": 'text\r\n"cafe\u0301"\r\n\r\na\u2028b\r\n',
    }.items():
        (tmp_path / name).write_bytes((mark + content).encode(encoding))
        texts = [text for _, text in read(tmp_path / name)[POOL]]
        assert texts == ["cafe\u0301", "a\u2028b"], name


def test_a_table_is_read_cell_by_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('n,text\n"1,000","two\nlines"\n7,\n')
    rows = list(read_splits(str(path))[POOL])
    assert [(row.where, row.fields) for row in rows] == [
        (f"{path}:2", {"n": "1,000", "text": "two\nlines"}),  # as written: no type is guessed
        (f"{path}:4", {"n": "7", "text": None}),
    ]


def test_nothing_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"folder holds no \.jsonl, \.json"):
        read(tmp_path)
    for source in ("missing.json", "data/missing.txt", "nothing", "/no/such/folder/at/all"):
        with pytest.raises(TaskError, match=f"{source}: no such file or folder; check task.path"):
            read(source)
