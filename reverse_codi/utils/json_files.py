"""JSON in a file that a user, or a program of another's, wrote: whatever else the bytes are is one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reverse_codi.utils.errors import UserError
from reverse_codi.utils.text_files import read_text


class JsonFileError(UserError):
    """A file holds no JSON, or another kind of value than is wanted; the message names it."""


def parsed(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none; also where it is nested too deep, or has a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_json(file: Path) -> Any:
    """The value of a JSON file.

    Raises:
        JsonFileError: its text is no JSON.
        TextError: a byte is no text.
        OSError: there is no such file, or it cannot be read.
    """
    try:
        return parsed(read_text(file))
    except UserError:
        raise
    except ValueError as error:
        raise JsonFileError(f"{file} is no JSON ({error}); fetch or write it again") from None


def read_object(file: Path) -> dict[str, Any]:
    """The keys and values of a JSON file that holds one object.

    Raises:
        JsonFileError: it holds another kind of value, or no JSON.
        TextError: a byte is no text.
        OSError: there is no such file, or it cannot be read.
    """
    value = read_json(file)
    if not isinstance(value, dict):
        raise JsonFileError(f"{file} holds a {type(value).__name__}, not an object of keys and values")
    return value


def object_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; a last line without its end, still being written, is left out.

    Raises:
        JsonFileError: a line is no JSON object; names file and line.
        OSError: there is no such file, or it cannot be read.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                value = parsed(line.decode())
            except ValueError as error:
                raise JsonFileError(f"{file}:{number} is no JSON ({error}); restore the file") from None
            if not isinstance(value, dict):
                raise JsonFileError(f"{file}:{number} holds a {type(value).__name__}, not an object")
            yield value
