"""What can happen to a file on a disk."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def flip(file: Path) -> None:
    """Change one bit."""
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    """Lose the second half."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def parquet_of_no_text(file: Path, table: pa.Table, word: bytes) -> None:
    """A table of which `word`, which it holds, is no UTF-8 any more."""
    pq.write_table(table, file, compression="none", use_dictionary=False, write_statistics=False)
    whole = file.read_bytes()
    assert whole.count(word) == 1
    file.write_bytes(whole.replace(word, b"\x80" * len(word)))
