"""Rows written to a file whose name says its kind: JSON lines, Parquet or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reverse_codi.storage.files import figures_json, nulled, whole_file
from reverse_codi.storage.outputs import check_file

SUFFIXES = (".jsonl", ".parquet", ".csv")


def write_rows(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write rows of the same keys, whole or not at all.

    Args:
        rows: N rows; in CSV a list or mapping is written as JSON, and None as an empty cell.
        path: ends in .jsonl, .parquet or .csv.

    Raises:
        OutputError: its name ends in something else, or it cannot be written there.
    """
    file = check_file(path, SUFFIXES)
    with whole_file(file) as temporary:
        if file.suffix == ".parquet":
            import pyarrow as pa  # type: ignore[import-untyped]
            import pyarrow.parquet as pq  # type: ignore[import-untyped]

            pq.write_table(pa.Table.from_pylist([nulled(row) for row in rows]), temporary)
        elif file.suffix == ".csv":
            with temporary.open("w", encoding="utf-8", newline="") as opened:
                table = csv.DictWriter(opened, list(rows[0]) if rows else [])
                table.writeheader()
                table.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
        else:
            with temporary.open("w", encoding="utf-8", newline="\n") as opened:
                opened.writelines(figures_json(row) + "\n" for row in rows)


def _cell(value: Any) -> Any:
    return json.dumps(nulled(value), ensure_ascii=False) if isinstance(value, list | dict) else nulled(value)
