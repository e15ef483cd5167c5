"""Files of one JSON object a line, which grow while a run works."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reverse_codi.storage.disk import disk_named
from reverse_codi.storage.files import DamagedError, figures_json
from reverse_codi.storage.json_files import parsed


class JsonLog:
    """Appends JSON objects, one a line, and waits until the disk has them.

    It need not be written whole: a killed process leaves at most its last line cut, which no reader takes
    (`json_lines`) and the next writer removes.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        _cut_torn_end(path)

    def write(self, *records: Mapping[str, Any]) -> None:
        """Append records; figures that are not finite become null.

        Raises:
            DiskError: the disk refused them.
        """
        with disk_named(self.path), self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write("".join(figures_json(record) + "\n" for record in records))
            file.flush()
            os.fsync(file.fileno())


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file, without a last line that is cut, or still being written; none without a file.

    Raises:
        DamagedError: a line before the last is no JSON object; names file and line.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield _object(line, path, number)


def _object(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        found = parsed(line.decode())
    except ValueError as error:  # bytes that are no UTF-8 are a ValueError too
        raise _damaged(path, number, str(error)) from None
    if not isinstance(found, dict):
        raise _damaged(path, number, f"a {type(found).__name__}")
    return found


def _damaged(path: Path, number: int, what: str) -> DamagedError:
    return DamagedError(
        f"{path}:{number}: this line is no JSON object ({what}), and no kill leaves one so: restore the file "
        "from a copy, or remove the line to go on without it"
    )


def _cut_torn_end(path: Path) -> None:
    """Remove a last line without its end: what a killed process was writing."""
    if not path.is_file() or not (size := path.stat().st_size):
        return
    with path.open("rb+") as file:
        kept = size
        while kept and not _ends_line(file, kept):
            kept -= 1
        if kept < size:
            file.truncate(kept)


def _ends_line(file: Any, end: int) -> bool:
    file.seek(end - 1)
    return bool(file.read(1) == b"\n")
