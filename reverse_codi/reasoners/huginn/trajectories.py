"""The behaviour of a state under iteration: it settles, circles, or drifts.

Geiping et al. 2025 (arXiv 2502.05171, section 7) show all three in one model, by eye: states that converge,
"orbits" and "sliders". Here numbers decide. Shapes: n iterations, so n + 1 states of width d, of which the
first is random. The tail is the rest after the first quarter, in which the random start is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

# Fewer iterations leave too short a tail.
LEAST_ITERATIONS = 8
# A state that stays this near to its end, relative to its norm, has settled. The public code stops
# iterating once a single step is below .03 ("latent-diff"); rounding to bfloat16 moves a state by .0016.
SETTLED = 0.05
# A state that comes back this near, relative to how far it had gone, circles.
RETURNS = 0.5
# Net displacement relative to the path. A random walk of 24 steps has .2, half a circle .64.
STRAIGHT = 0.5
# Steps in the tail's second half relative to its first: below this they die out; above 1 / 0.7 they grow.
ALIVE = 0.7
# Periods this near to the best one count as equal; the shortest of them is reported.
_AS_GOOD = 0.05


class TrajectoryKind(StrEnum):
    """The class of a trajectory; `UNSETTLED` is none of the three, or not yet."""

    FIXED_POINT = "fixed point"
    ORBIT = "orbit"
    DRIFT = "drift"
    UNSETTLED = "unsettled"


@dataclass(frozen=True)
class Summary:
    """One trajectory's class and the numbers that decide it.

    Attributes:
        kind: the class, by `classify`.
        last_step: |x_n - x_(n-1)| / |x_n|.
        settled: the largest distance to x_n in the last quarter of the iterations / |x_n|.
        period: iterations after which the state comes back nearest, from 2 to half the tail.
        recurrence: mean distance |x_(i+period) - x_i| in the tail / the largest such mean at a shorter
            period. 0 comes back exactly, 1 does not come back.
        straightness: net displacement / path length in the tail; 1 is a straight line.
        decay: mean step in the second half of the tail / in the first.
    """

    kind: TrajectoryKind
    last_step: float
    settled: float
    period: int
    recurrence: float
    straightness: float
    decay: float


def summarise(states: Tensor) -> Summary:
    """Class and numbers of one trajectory.

    Args:
        states: [n + 1, d], the initial one first.

    Raises:
        ValueError: too few iterations, or a state that is not finite.
    """
    n = len(states) - 1
    if n < LEAST_ITERATIONS:
        raise ValueError(f"{n} iterations are too few to tell a class; give {LEAST_ITERATIONS} or more")
    if not bool(states.isfinite().all()):
        first = int((~states.isfinite().all(-1)).nonzero()[0])
        raise ValueError(f"the state after {first} iterations is not finite; the model diverged")
    x = states.double()
    norm = float(x[-1].norm())
    steps = (x[1:] - x[:-1]).norm(dim=-1)  # [n]
    tail = x[n // 4 :]
    period, recurrence = closest_return(tail)
    numbers = {
        "last_step": _ratio(float(steps[-1]), norm),
        "settled": _ratio(float((x[-1 - n // 4 :] - x[-1]).norm(dim=-1).max()), norm),
        "recurrence": recurrence,
        "straightness": straightness(tail),
        "decay": decay(tail),
    }
    return Summary(classify(**numbers), period=period, **numbers)


def classify(
    *, last_step: float, settled: float, recurrence: float, straightness: float, decay: float
) -> TrajectoryKind:
    """The class that the numbers of a `Summary` make.

    Fixed point: both the last step and the last quarter are small. Orbit: the state comes back, and the orbit
        keeps its size. Drift: the state goes one way, and its steps do not die out.
    """
    if settled < SETTLED and last_step < SETTLED:
        return TrajectoryKind.FIXED_POINT
    if recurrence < RETURNS and ALIVE <= decay <= 1 / ALIVE:
        return TrajectoryKind.ORBIT
    if straightness >= STRAIGHT and decay >= ALIVE:
        return TrajectoryKind.DRIFT
    return TrajectoryKind.UNSETTLED


def closest_return(tail: Tensor) -> tuple[int, float]:
    """The period after which states [m, d] come back nearest, and how near.

    By distances alone any slow path would be periodic, because neighbours are near. So the state must have
    been further away in between. A period that is not a whole number shows at its first nearly whole
    multiple. A period longer than half the tail does not show.

    Returns the period, and the mean distance at it / the largest mean distance at a shorter one.
    """
    distances = torch.cdist(tail, tail, compute_mode="donot_use_mm_for_euclid_dist")
    longest = (len(tail) - 1) // 2
    means = torch.stack([distances.diagonal(lag).mean() for lag in range(1, longest + 1)])
    furthest = means.cummax(0).values[:-1]  # over shorter lags, for lags 2, 3, ...
    ratios = [_ratio(float(a), float(b), 1.0) for a, b in zip(means[1:], furthest, strict=True)]
    best = next(i for i, ratio in enumerate(ratios) if ratio <= min(ratios) + _AS_GOOD)
    return best + 2, ratios[best]


def straightness(tail: Tensor) -> float:
    """Net displacement / path length of states [m, d]; 0 where nothing moves."""
    path = (tail[1:] - tail[:-1]).norm(dim=-1).sum()
    return _ratio(float((tail[-1] - tail[0]).norm()), float(path))


def decay(tail: Tensor) -> float:
    """Mean step in the second half of states [m, d] / in the first half; 0 where nothing moves."""
    steps = (tail[1:] - tail[:-1]).norm(dim=-1)
    half = len(steps) // 2
    return _ratio(float(steps[-half:].mean()), float(steps[:half].mean()))


def principal_axes(states: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """States [N, d] on their first k principal axes.

    Exact and without randomness, by the smaller of the two Gram matrices; each axis points to where its
    largest coordinate is positive.

    Returns coordinates [N, k], and the share of variance [k] that each axis holds.
    """
    centred = states.double() - states.double().mean(0)
    if len(centred) <= centred.shape[1]:
        values, left = torch.linalg.eigh(centred @ centred.T)  # ascending
        coordinates = left[:, -k:] * values[-k:].clamp(min=0).sqrt()
    else:
        values, axes = torch.linalg.eigh(centred.T @ centred)
        coordinates = centred @ axes[:, -k:]
    coordinates = coordinates.flip(1)
    largest = coordinates.gather(0, coordinates.abs().argmax(0, keepdim=True))  # [1, k]
    total = centred.square().sum()
    share = values[-k:].flip(0).clamp(min=0) / total if total > 0 else torch.zeros(k)
    return coordinates * torch.where(largest < 0, -1.0, 1.0), share


def _ratio(part: float, whole: float, if_nothing: float = 0.0) -> float:
    return part / whole if whole > 0 else if_nothing
