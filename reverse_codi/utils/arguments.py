"""Numbers on the command line, checked as they are parsed: types for `argparse`."""

from __future__ import annotations

import argparse
import math

MOST = 2**63 - 1
"""What a seed of torch may be."""


def count(text: str) -> int:
    """A whole number, 0 or more.

    Raises:
        argparse.ArgumentTypeError: it is another one, or none.
    """
    return _whole(text, 0)


def positive(text: str) -> int:
    """A whole number, 1 or more; raises as `count`."""
    return _whole(text, 1)


def size(text: str) -> float:
    """A number, 0 or more.

    Raises:
        argparse.ArgumentTypeError: it is another one, or none.
    """
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number; give 0 or more") from None
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no size; give 0 or more")
    return value


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number; give {least} or more") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} is too small; give {least} or more")
    if value > MOST:
        raise argparse.ArgumentTypeError(f"{value} is too large; give {MOST} or less")
    return value
