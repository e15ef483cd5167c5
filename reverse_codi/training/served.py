"""Which policy an engine serves, judged by log-probabilities of the same tokens.

A tolerance alone does not tell: one step of training changes log-probabilities by less than half precision
does. But a change has a direction. An engine that still serves the policy before differs from the trainer
along the whole of the last change; rounding differs along none.

Shapes: T tokens of the probe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

# Shares that count, and how many standard errors they must exceed: with fewer, chance would stop a run.
LEAST, SIGMAS = 0.25, 6.0
# Tokens without which the noise cannot be told from the change.
FEWEST = 16

Row = NDArray[np.float32]


def share(theirs: Row, ours: Row, other: Row) -> float:
    """How far an engine lies on the way from our policy to another one: 0 is ours, 1 the other.

    Least squares: theirs = ours + share * (other - ours) + noise. Where the noise allows no answer it is 0.

    Args:
        theirs: [T] log-probabilities that the engine gives.
        ours: [T] those of the policy that it should serve.
        other: [T] those of the other.
    """
    way, off = (np.asarray(row, np.float64) - ours for row in (other, theirs))
    length = float(way @ way)
    if len(way) < FEWEST or length == 0:
        return 0.0
    found = float(off @ way) / length
    noise = off - found * way
    error = math.sqrt(float(noise @ noise) / (len(way) - 1) / length)
    return found if abs(found) > max(LEAST, SIGMAS * error) else 0.0


def other_policy(theirs: Row, ours: Row, base: Row, before: Mapping[int, Row]) -> str:
    """What an engine seems to serve in place of a policy; "" if that one.

    Args:
        theirs: [T] log-probabilities that the engine gives.
        ours: [T] those of the policy.
        base: [T] those of the model without an adapter.
        before: version -> [T] those of a policy that was served before.
    """
    for version, row in before.items():
        if found := share(theirs, ours, row):
            return f"{found:.0%} of the change since policy {version} is missing: it serves an old one"
    missing = share(theirs, ours, base)
    if missing > 1 - LEAST:
        return "it serves the model without the adapter"
    if missing:
        return (
            f"it applies {1 - missing:.0%} of the adapter: another scale (lora_alpha, r), or loaded more "
            "than once"
        )
    return ""
