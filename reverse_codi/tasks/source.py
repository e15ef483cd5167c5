"""From a hub id, a file or a folder to records, split by split.

This module reads files itself, so that errors name file and line; the `datasets` library reads everything
else.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reverse_codi.storage.text_files import read_lines, read_text
from reverse_codi.tasks.base import TaskError
from reverse_codi.tasks.corpus import Row, RowError, read_jsonl

TRAIN, VALIDATION, TEST = "train", "validation", "test"
POOL = ""
"""Name of the only split of a source that has no split of its own."""

_SPLITS = {"train": TRAIN, "valid": VALIDATION, "validation": VALIDATION, "dev": VALIDATION, "test": TEST}
# "prosqa_train.json" and "train-00000-of-00004.parquet" both name their split.
_FILE_SPLIT = re.compile(rf"(?:.*[-_.])?({'|'.join(_SPLITS)})(?:-\d+-of-\d+)?")


def read_splits(source: str, config: str | None = None) -> dict[str, Iterable[Row]]:
    """The records of a source by split, each split read when it is iterated.

    Args:
        source: a file (.jsonl, .json, .txt, .parquet, .csv), a folder of them, a folder that `datasets`
            saved, or a hub id. Files of a folder belong to the split that their names end in; a single
            file is one pool, and so is a folder without both a train and a held-out file.
        config: configuration of a hub data set.

    Raises:
        TaskError: the source does not exist.
    """
    path = Path(source)
    if path.is_file():
        return {POOL: read_file(path)}
    if path.is_dir():
        saved = any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
        return _saved(source) if saved else _folder(path)
    if path.suffix in READERS or not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        raise TaskError(f"{source}: no such file or folder; check task.path")
    return _hub(source, config)


def _folder(path: Path) -> dict[str, Iterable[Row]]:
    files = [file for file in sorted(path.iterdir()) if file.suffix in READERS]
    if not files:
        raise TaskError(f"{path}: the folder holds no {', '.join(READERS)} file; check task.path")
    named: dict[str, list[Path]] = {}
    for file in files:
        match = _FILE_SPLIT.fullmatch(file.stem)
        if match:
            named.setdefault(_SPLITS[match[1]], []).append(file)
    if TRAIN not in named or len(named) == 1:
        named = {POOL: files}
    return {split: _rows(some) for split, some in named.items()}


def _rows(files: Iterable[Path]) -> Iterator[Row]:
    for file in files:
        yield from read_file(file)


def read_file(path: Path) -> Iterable[Row]:
    """The records of one file; the end of its name decides the format.

    Raises:
        TaskError: the format is unknown; the message names the known ones.
    """
    if path.suffix not in READERS:
        raise TaskError(
            f"{path}: a {path.suffix or 'nameless'} file cannot be read; use {', '.join(READERS)}"
        )
    return READERS[path.suffix](path)


def _read_text(path: Path) -> Iterator[Row]:
    """Lines as `{"text": line}`, as `datasets` reads text; empty lines are skipped."""
    for number, line in read_lines(path):
        if line.strip():
            yield Row(f"{path}:{number}", {"text": line})


def _read_json(path: Path) -> Iterator[Row]:
    return json_rows(read_text(path), str(path))


def json_rows(text: str, name: str) -> Iterator[Row]:
    """The objects of a JSON list, or the values of an object whose values are all objects.

    Raises:
        TaskError: the file is not JSON, or has another form; names the line or the record.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise TaskError(
            f"{name}:{error.lineno}: {error.msg}; write a JSON list of objects, or one object a line in "
            "a .jsonl file"
        ) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; nested too deep
        raise TaskError(f"{name}: {error}; write a JSON list of objects") from None
    records = dict(enumerate(content, start=1)) if isinstance(content, list) else content
    if not isinstance(records, dict) or not records:
        raise TaskError(f"{name}: holds {content!r:.60}; write a JSON list of objects")
    for key, fields in records.items():
        where = f"{name}: record {key}"
        if isinstance(fields, dict):
            yield Row(where, fields)
        else:
            problem = "the record is {!r:.60}; write a JSON object"
            yield Row(where, {}, RowError(where, problem, [fields]))


def _read_csv(path: Path) -> Iterator[Row]:
    """The rows of a table whose first line names the columns, an empty cell as None.

    A cell in quotes may span several lines.
    """
    table = csv.reader((f"{line}\n" for _, line in read_lines(path)), strict=True)
    try:
        names = next(table, [])
        if len(set(names)) < len(names) or not all(names):
            raise TaskError(f"{path}:1: the columns are {names}; give each a name of its own")
        line = table.line_num + 1
        for cells in table:
            if cells and len(cells) != len(names):
                where, counts = f"{path}:{line}", [len(cells), len(names)]
                yield Row(where, {}, RowError(where, "{} cells for {} columns; quote commas", counts))
            elif cells:
                fields = {name: cell or None for name, cell in zip(names, cells, strict=True)}
                yield Row(f"{path}:{line}", fields)
            line = table.line_num + 1
    except csv.Error as error:
        raise TaskError(f"{path}:{table.line_num}: {error}; is it a CSV file?") from None


def _read_parquet(path: Path) -> Iterator[Row]:
    # Here, since a recipe's schema imports this module, and `--help` need not wait for it.
    from pyarrow import ArrowException  # type: ignore[import-untyped]
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    try:
        with ParquetFile(path) as table:
            yield from _dataset_rows(
                str(path), (row for some in table.iter_batches() for row in _valid(some))
            )
    except (ArrowException, OSError) as error:
        raise TaskError(f"{path}: {error}; is it a parquet file?") from error


def _valid(batch: Any) -> list[dict[str, object]]:
    """The rows of a batch; an `ArrowException` for what its pages give and its types do not allow."""
    batch.validate(full=True)
    rows: list[dict[str, object]] = batch.to_pylist()
    return rows


READERS: Mapping[str, Callable[[Path], Iterable[Row]]] = {
    ".jsonl": read_jsonl,
    ".json": _read_json,
    ".txt": _read_text,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
}


def _saved(source: str) -> dict[str, Iterable[Row]]:
    from datasets import DatasetDict, load_from_disk

    saved = load_from_disk(source)
    return _by_split(source, saved if isinstance(saved, DatasetDict) else {POOL: saved})


def _hub(source: str, config: str | None) -> dict[str, Iterable[Row]]:
    from datasets import load_dataset

    try:
        splits = load_dataset(source, config)
    except (OSError, ValueError) as error:
        raise TaskError(
            f"{source!r} is no local path, and the hub gave: {error}; "
            "set task.path to a file or folder, or to another hub id"
        ) from error
    return _by_split(source, splits)


def _by_split(source: str, splits: Mapping[str, Any]) -> dict[str, Iterable[Row]]:
    return {_SPLITS.get(name, name): _dataset_rows(f"{source} {name}", rows) for name, rows in splits.items()}


def _dataset_rows(where: str, dataset: Iterable[Mapping[str, object]]) -> Iterator[Row]:
    return (Row(f"{where}:{i}", fields) for i, fields in enumerate(dataset, start=1))
