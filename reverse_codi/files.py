"""Small files, written whole or not at all, and JSON without NaN."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reverse_codi.config import UserError


class NotJsonError(UserError):
    """A value has no place in JSON; the message names where it stands."""


def write_whole(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


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
