"""Files written whole or not at all, and JSON without NaN.

What is written goes to a temporary name beside its place, is flushed to the disk, and is renamed. Whenever a
process stops, each place holds what it held before, or all that is new. `storage.folders` does so with
folders.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reverse_codi.errors import UserError
from reverse_codi.storage.disk import disk_named

TEMPORARY = ".tmp"
"""Ends the names of files and folders that are being written."""
# Bytes of a file name on the file systems in use.
_LONGEST_NAME = 255


class NotJsonError(UserError):
    """A value has no place in JSON; the message names where it stands."""


class DamagedError(UserError):
    """A file is missing, cut, or not what was written; the message names it and what to do."""


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path`, which takes its place when the block ends without an error.

    Missing folders are made. Yields the temporary file's path, in the same folder; of a link, in the folder
    that it points into. What is in place survives a power cut.

    Raises:
        DiskError: the disk refused it; a file that was there is unchanged.
    """
    path = Path(os.path.realpath(path))
    temporary = temporary_name(path)
    try:
        with disk_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            flush(temporary)
            os.replace(temporary, path)
            flush(path.parent)  # or the folder could list the former file again
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | Path, data: str | bytes | memoryview) -> None:
    """Write a file whole or not at all: a text in UTF-8, or bytes."""
    with whole_file(path) as temporary:
        if isinstance(data, str):
            temporary.write_text(data, encoding="utf-8", newline="\n")
        else:
            temporary.write_bytes(data)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file whole or not at all."""
    with whole_file(target) as temporary:
        shutil.copyfile(source, temporary)


def temporary_name(path: Path) -> Path:
    """A name of its own beside a place: processes of one number may run on two hosts."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")


def flush(path: Path) -> None:
    """Wait until the disk has what was written to a file, or to a folder's list of files."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def is_plain_name(name: str) -> bool:
    """Whether a name that a file holds is that of a file beside it, and no path to elsewhere.

    >>> [is_plain_name(name) for name in ("a.bin", "..", "../a.bin", "/a.bin", "")]
    [True, False, False, False, False]
    """
    plain = name not in ("", ".", "..") and not re.search(r"[/\\\0]", name)
    return plain and len(name.encode("utf-8", "replace")) <= _LONGEST_NAME


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def strict_json(value: Any, indent: int | None = None) -> str:
    """JSON of what is read back by the program: a NaN or an infinity there is an error.

    Python's `json.dumps` writes bare NaN, which is no JSON: other programs refuse the file.

    Raises:
        NotJsonError: names the first place that holds one.
    """
    if (place := _not_finite(value)) is not None:
        raise NotJsonError(f"{place} is not a finite number, so nothing is written; find where it comes from")
    return json.dumps(value, indent=indent, allow_nan=False)


def figures_json(value: Any, indent: int | None = None) -> str:
    """JSON of figures for people and their programs: null where a figure is NaN or infinite.

    >>> figures_json({"match": float("nan"), "n": 0})
    '{"match": null, "n": 0}'
    """
    return json.dumps(nulled(value), indent=indent, allow_nan=False)


def nulled(value: Any) -> Any:
    """A copy with None in place of every NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: nulled(inner) for key, inner in value.items()}
    return [nulled(inner) for inner in value] if isinstance(value, list | tuple) else value


def _not_finite(value: Any, place: str = "the value") -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{place} = {value}"
    if isinstance(value, Mapping):
        parts = [(inner, str(key)) for key, inner in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(inner, str(i)) for i, inner in enumerate(value)]
    else:
        return None
    below = "" if place == "the value" else f"{place}."
    return next((found for inner, key in parts if (found := _not_finite(inner, below + key))), None)
