"""How many cases each part gets, and what every case must come to."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from hypothesis import settings

from reverse_codi.errors import UserError

T = TypeVar("T")

IN_CI = 500
TOTAL = int(os.environ.get("FUZZ_CASES", IN_CI))
LONGEST = 6_000
"""Characters of a message: a user reads it in a terminal."""

PER_CENT = {
    "recipe values": 14,
    "recipe texts": 10,
    "options": 6,
    "task files": 14,
    "damaged task files": 12,
    "trace stores": 8,
    "shards": 4,
    "checkpoints": 6,
    "verbalizers": 4,
    "command lines": 8,
    "bad files": 4,
    "texts": 10,
}
"""Shares of `TOTAL`; loading a model takes longer than reading a recipe."""


def cases(part: str) -> settings:
    """The settings of a part's test."""
    return settings(max_examples=max(1, TOTAL * PER_CENT[part] // 100))


def ends_well(work: Callable[[], T], *named: object) -> T | None:
    """The result of some work, or None where it ended in an error that a user can understand.

    Any other error is a failure of the case.

    Args:
        work: what is tried.
        named: inputs, one of which an error must name.
    """
    try:
        return work()
    except (UserError, FileNotFoundError) as error:
        message = str(error)
        assert any(str(name) in message for name in named), f"names none of {named}: {message}"
        assert len(message) <= LONGEST and "Traceback" not in message, message[:LONGEST]
        return None
