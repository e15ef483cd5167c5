"""What a reward function may return: one float or None a text, and nothing that only looks like it."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor

from reverse_codi.rewards.batch import RewardError
from reverse_codi.rewards.declare import RewardSpec


class ReturnedError(Exception):
    """Something else than a value for each text came back; the message says what."""


class WrongLengthError(ReturnedError):
    """Another number of values than of texts."""


def values_of(result: Any, n: int) -> list[Any]:
    """The values that a function returned, each yet to be checked by `checked`.

    Args:
        result: a list or tuple of `n`, or an array or tensor [n] of any device.
        n: how many texts it was shown.

    Raises:
        ReturnedError: it is something else. A dict or a str can be gone through as well, and would give its
            keys or its letters.
        WrongLengthError: it has another number of values.
    """
    if isinstance(result, Tensor | np.ndarray) and result.ndim == 1:
        result = result.tolist()
    if not isinstance(result, list | tuple):
        wanted = f"return a list of {n} values, one for each text, each a float or None"
        raise ReturnedError(f"returned {described(result)}; {wanted}")
    if len(result) != n:
        raise WrongLengthError(f"returned {len(result)} values for {n} texts; return one for each")
    return list(result)


def described(value: Any) -> str:
    """What was returned, shortly.

    >>> described({"content": 1.0, "form": 0.5})
    "a dict with the keys 'content', 'form'"
    >>> described("0.5")
    "a str, '0.5'"
    """
    if value is None:
        return "None"
    kind = type(value).__name__
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    if isinstance(value, Tensor | np.ndarray):
        return f"{article} {kind} of shape {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"{article} {kind} with the keys {_first(value)}"
    if isinstance(value, str | bytes | numbers.Number):
        shown = repr(value)
        return f"{article} {kind}, {shown if len(shown) < 60 else f'{shown[:56]}...'}"
    return f"{article} {kind}"


def checked(reward: RewardSpec, value: Any, row: int, text: str) -> float | None:
    """One value as a float, or None.

    Args:
        reward: whose value it is.
        value: what the function returned for this row.
        row: of the batch, for the error.
        text: of this row, for the error.

    Raises:
        RewardError: it is no number, not finite, or less than the reward's `worst`.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        fix = "return floats or None (`.tolist()` makes them of a tensor)"
        raise RewardError(reward.name, f"returned {described(value)}, for a text; {fix}", row, text)
    number = float(value)
    if not math.isfinite(number):
        problem = f"returned {number}; clip it, or return None where it means nothing"
        raise RewardError(reward.name, problem, row, text)
    worst = reward.worst
    if worst is not None and number < worst - 1e-5 * max(1.0, abs(worst)):  # float32 rounding
        problem = f"returned {number:.6g}, below its worst, {worst:.6g}; clip it or lower the worst"
        raise RewardError(reward.name, problem, row, text)
    return number


def _first(keys: Iterable[Any], shown: int = 4) -> str:
    """The first few keys."""
    some = [repr(key) for key in islice(keys, shown + 1)]
    return ", ".join(some[:shown]) + (", ..." if len(some) > shown else "")
