"""Where output goes: checked before work, written whole."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from reverse_codi.cli import (
    ablate,
    bench_rewards,
    ceilings,
    demo,
    distill,
    evaluate,
    pipeline,
    reading_study,
    soft_text,
    trace,
    train,
    trajectories,
    verbalize,
)
from reverse_codi.storage.files import whole_file, write_whole
from reverse_codi.storage.outputs import OutputError, check_file, check_folder
from reverse_codi.storage.rows_file import SUFFIXES, write_rows

ROWS = [
    {"text": "a\u2028b, \u00e9", "match": 0.5, "lens": ["17", "[x]"]},
    {"text": "", "match": -1.0, "lens": []},
]


def test_a_check_makes_nothing_and_writing_makes_the_folders(tmp_path: Path) -> None:
    assert check_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    path = check_file(tmp_path / "c" / "d" / "rows.jsonl", SUFFIXES)
    assert list(tmp_path.iterdir()) == []
    write_whole(path, "x")
    assert path.read_text() == "x"


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below" / "it"):
        with pytest.raises(OutputError, match=r"/file is not a folder; choose another place"):
            check_folder(place)
    with pytest.raises(OutputError, match=r"rows\.txt: .*'\.txt'.* in \.jsonl, \.parquet, \.csv"):
        check_file(tmp_path / "rows.txt", SUFFIXES)
    with pytest.raises(OutputError, match="kind ''"):
        check_file(tmp_path / "rows", SUFFIXES)
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(OutputError, match=r"rows\.csv is a folder"):
        check_file(tmp_path / "rows.csv", SUFFIXES)
    with pytest.raises(OutputError, match=r"/proc cannot be written \(.*; set another --out"):
        check_folder("/proc/no/such/folder", "--out")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"rows{suffix}"
    write_rows(ROWS, path)
    write_rows(ROWS, path)  # an existing file is replaced
    if suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            read: list[dict[str, Any]] = list(csv.DictReader(file))
        read = [{**row, "match": float(row["match"]), "lens": json.loads(row["lens"])} for row in read]
    elif suffix == ".parquet":
        read = Dataset.from_parquet(str(path)).to_list()
    else:
        read = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    assert read == ROWS
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_whole(path, "old")
    with pytest.raises(TypeError):
        write_rows([*ROWS, {"text": object()}], path)
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.jsonl"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "file").read_text() == "new"


NOWHERE = "reasoner: {path: no/such/reasoner}\n"


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (verbalize.main, ["Ann has 3.", "--reasoner", "no/such", "--out", "FILE/rows.jsonl"]),
        (trace.main, ["RECIPE", "--trace.out", "FILE/a"]),
        (
            trace.main,
            [
                "import",
                "--hidden-states",
                "no",
                "--latent-inputs",
                "no",
                "--rows",
                "no",
                "--reasoner-hash",
                "x",
                "--out",
                "FILE",
            ],
        ),
        (train.main, ["RECIPE", "--train.out", "FILE"]),
        (distill.main, ["RECIPE", "--distill.out", "FILE/a/b", "--distill.base", "no/such/base"]),
        (pipeline.main, ["RECIPE", "--train.out", "FILE", "--distill.out", "no/such/reasoner"]),
        (evaluate.main, ["--reasoner", "no/such", "--task", "arithmetic", "--out", "FILE"]),
        (evaluate.main, ["embedded", "--out", "FILE", "--reading", "no/such"]),
        (demo.main, ["--recipe", "RECIPE", "--figures", "FILE/demo.json"]),
        (demo.main, ["--recipe", "RECIPE", "--out", "FILE"]),
        (trajectories.main, ["no/such", "--text", "a", "--out", "FILE"]),
        (ceilings.main, ["RECIPE", "--out", "FILE"]),
        (soft_text.main, ["embedded", "--out", "FILE"]),
        (reading_study.main, ["RECIPE", "--out", "FILE/a.json"]),
        (bench_rewards.main, ["--out", "FILE/a.json"]),
    ],
)
def test_every_verb_checks_its_output_before_it_works(
    main: Callable[[list[str]], None], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").touch()
    (tmp_path / "RECIPE").write_text(NOWHERE)
    # The reasoners of these commands are not there: who worked first would say so.
    with pytest.raises(OutputError, match=r"FILE(/\S+)?: \S+/FILE is not a folder"):
        main(words)


def test_a_table_of_ablations_checks_its_output_first(tmp_path: Path) -> None:
    (tmp_path / "FILE").touch()
    (tmp_path / "a.yaml").write_text("recipe: no/such.yaml\nrows: {a: {why: x}}\n")
    with pytest.raises(OutputError, match="FILE"):
        ablate.main([str(tmp_path / "a.yaml"), "--out", str(tmp_path / "FILE")])
