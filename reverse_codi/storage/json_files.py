"""JSON in a file that a user, or a program of another's, wrote: whatever else the bytes are is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reverse_codi.storage.files import DamagedError
from reverse_codi.storage.text_files import read_text

AGAIN = "fetch or write it again"


def parsed(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none; also where it is nested too deep, or has a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_json(file: Path, fix: str = AGAIN) -> Any:
    """The value of a JSON file.

    Args:
        file: its path.
        fix: what to do if it is damaged, for the message.

    Raises:
        DamagedError: its text is no JSON, or no text.
        OSError: there is no such file, or it cannot be read.
    """
    try:
        return parsed(read_text(file))
    except ValueError as error:  # bytes that are no text are a ValueError too
        raise DamagedError(f"{file} is cut or damaged, it is no JSON ({error}); {fix}") from None


def read_object(file: Path, fix: str = AGAIN) -> dict[str, Any]:
    """The keys and values of a JSON file that holds one object; arguments as in `read_json`.

    Raises:
        DamagedError: it holds another kind of value, or no JSON.
        OSError: there is no such file, or it cannot be read.
    """
    value = read_json(file, fix)
    if not isinstance(value, dict):
        raise DamagedError(f"{file} is damaged: it holds a {type(value).__name__}, not an object; {fix}")
    return value
