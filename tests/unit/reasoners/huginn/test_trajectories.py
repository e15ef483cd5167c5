from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reverse_codi.reasoners.huginn.trajectories import (
    TrajectoryKind,
    classify,
    closest_return,
    decay,
    principal_axes,
    straightness,
    summarise,
)

N, WIDTH = 32, 64


def plane(xs: list[complex], centre: float = 3.0) -> Tensor:
    """A path in the plane of two random directions of a wide space, round a centre of norm `centre`."""
    axes = torch.linalg.qr(torch.randn(WIDTH, 3, generator=torch.Generator().manual_seed(0)).double()).Q.T
    points = torch.tensor([[x.real, x.imag] for x in xs], dtype=torch.float64)
    return points @ axes[:2] + centre * axes[2]


def spiral(rate: float, period: float, start: complex = 1, n: int = N) -> Tensor:
    """A turn every `period` iterations, `rate` times as wide with each iteration."""
    factor = rate * complex(math.cos(2 * math.pi / period), math.sin(2 * math.pi / period))
    return plane([start * factor**i for i in range(n + 1)])


def noise(scale: float, seed: int = 1) -> Tensor:
    return torch.randn(N + 1, WIDTH, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize(
    ("states", "kind"),
    [
        (plane([complex(0.7**i) for i in range(N + 1)]), TrajectoryKind.FIXED_POINT),  # straight in
        (spiral(0.8, 5), TrajectoryKind.FIXED_POINT),  # in by a spiral
        (
            plane([complex((-0.8) ** i) for i in range(N + 1)]),
            TrajectoryKind.FIXED_POINT,
        ),  # from side to side
        (torch.ones(N + 1, WIDTH), TrajectoryKind.FIXED_POINT),  # never moves
        (plane([0j] * (N + 1)) + noise(0.001), TrajectoryKind.FIXED_POINT),  # settled but for rounding
        (spiral(1, 6), TrajectoryKind.ORBIT),
        (spiral(1, 6) + noise(0.02), TrajectoryKind.ORBIT),
        (spiral(1, 5.5), TrajectoryKind.ORBIT),  # comes back nearly at 5 and 6, and wholly at 11
        (plane([complex((-1) ** i) for i in range(N + 1)]), TrajectoryKind.ORBIT),  # flips between two states
        (plane([[1, 2j, -1][i % 3] for i in range(N + 1)]), TrajectoryKind.ORBIT),
        (spiral(1, 12), TrajectoryKind.ORBIT),  # slow: each step is small beside the way round
        (plane([0.1 * complex(i) for i in range(N + 1)]), TrajectoryKind.DRIFT),
        (plane([0.1 * complex(i) for i in range(N + 1)]) + noise(0.003), TrajectoryKind.DRIFT),
        (
            plane([0.1 * complex(i, 0.5 * (-1) ** i) for i in range(N + 1)]),
            TrajectoryKind.DRIFT,
        ),  # zigzag on its way
        (plane([complex(0.02 * i**1.5) for i in range(N + 1)]), TrajectoryKind.DRIFT),  # ever faster
    ],
)
def test_each_kind_is_reported(states: Tensor, kind: TrajectoryKind) -> None:
    assert summarise(states).kind is kind


@pytest.mark.parametrize(
    "states",
    [
        noise(1.0),  # jumps about: no way back, no way on
        noise(1.0).cumsum(0),  # random walk
        spiral(0.95, 6),  # an orbit that dies out and has not yet
        spiral(1.05, 6),  # one that grows
        plane([2 * complex(0.95**i) for i in range(N + 1)]),  # slows down, and has not yet stopped
        plane([complex(math.cos(i / 2), math.sin(i / 2)) + 0.2 * i for i in range(N + 1)]),  # rolls on
    ],
)
def test_what_is_none_of_them_is_not_called_so(states: Tensor) -> None:
    assert summarise(states).kind is TrajectoryKind.UNSETTLED


def test_more_iterations_settle_what_was_slow() -> None:
    assert summarise(spiral(0.95, 6, n=128)).kind is TrajectoryKind.FIXED_POINT


def test_the_random_start_does_not_count() -> None:
    for seed in range(3):
        start = noise(5.0, seed)[:8]
        orbit, drift = spiral(1, 4), plane([0.1 * complex(i) for i in range(N + 1)])
        assert summarise(torch.cat([start.double(), orbit[8:]])).kind is TrajectoryKind.ORBIT
        assert summarise(torch.cat([start.double(), drift[8:]])).kind is TrajectoryKind.DRIFT


def test_the_class_does_not_depend_on_scale() -> None:
    for states in (spiral(1, 6), noise(1.0).cumsum(0), plane([0.1 * complex(i) for i in range(N + 1)])):
        small, large = summarise(states * 1e-3), summarise(states * 1e3)
        assert small.kind is large.kind is summarise(states).kind
        assert small.settled == pytest.approx(large.settled)
        assert small.recurrence == pytest.approx(large.recurrence)


def test_numbers_by_hand() -> None:
    # 0, 1, 2, ..., 32 on a line through the origin: the tail is 8..32, its last quarter begins at 24.
    line = summarise(torch.arange(33.0)[:, None])
    assert line.last_step == pytest.approx(1 / 32)
    assert line.settled == pytest.approx(8 / 32)
    assert line.straightness == pytest.approx(1)
    assert line.decay == pytest.approx(1)
    # It is p away after p: ratios fall from 2 / 1 to 12 / 11, and 9 / 8 is the first within .05 of that.
    assert line.recurrence == pytest.approx(9 / 8)
    assert line.period == 9
    # A square of side 1, 5 away from the origin.
    corners = torch.tensor([[5.0, 0, 0], [5, 1, 0], [5, 1, 1], [5, 0, 1]])
    square = summarise(corners.repeat(9, 1)[:33])
    assert (square.kind, square.period, square.recurrence) == (TrajectoryKind.ORBIT, 4, 0)
    assert square.last_step == pytest.approx(1 / 5)
    assert square.settled == pytest.approx(math.sqrt(2) / 5)
    assert square.straightness == 0


def test_parts_by_hand() -> None:
    there_and_back = torch.tensor([0.0, 1, 3, 1, 0])[:, None]
    assert straightness(there_and_back) == 0
    assert straightness(there_and_back[:4]) == pytest.approx(1 / 5)
    assert decay(there_and_back) == pytest.approx(1)
    assert decay(torch.tensor([0.0, 4, 8, 9, 10])[:, None]) == pytest.approx(1 / 4)
    # Lags 1, 2, 3 of 0 2 0 2 0 2 0: 2, 0, 2.
    assert closest_return(torch.tensor([0.0, 2, 0, 2, 0, 2, 0])[:, None]) == (2, 0.0)
    assert straightness(torch.zeros(4, 2)) == decay(torch.zeros(4, 2)) == 0


def test_a_long_step_at_the_end_is_no_fixed_point() -> None:
    states = plane([0j] * (N + 1))
    states[-1] += 1
    assert summarise(states).kind is not TrajectoryKind.FIXED_POINT
    numbers = {"recurrence": 1.0, "straightness": 0.0, "decay": 0.0}
    assert classify(last_step=0.01, settled=0.01, **numbers) is TrajectoryKind.FIXED_POINT
    assert classify(last_step=0.01, settled=0.2, **numbers) is TrajectoryKind.UNSETTLED


def test_what_cannot_be_known_is_refused() -> None:
    with pytest.raises(ValueError, match="7 iterations are too few to tell a class; give 8 or more"):
        summarise(torch.zeros(8, 2))
    broken = torch.ones(33, 4)
    broken[5, 2] = math.nan
    with pytest.raises(ValueError, match="the state after 5 iterations is not finite"):
        summarise(broken)


@pytest.mark.parametrize("wide", [True, False])
def test_principal_axes(wide: bool) -> None:
    # Variances 9 : 4 : 1 along three directions; more points than width, or fewer.
    width = 30 if wide else 3
    axes = torch.linalg.qr(torch.randn(width, 3, generator=torch.Generator().manual_seed(2)).double()).Q.T
    grid = torch.tensor([[3.0, 0, 0], [0, 2, 0], [0, 0, 1]]).double()
    points = torch.cat([grid, -grid]) @ axes + 7
    coordinates, share = principal_axes(points, 2)
    assert share.tolist() == pytest.approx([9 / 14, 4 / 14])
    expected = torch.cat([grid, -grid])[:, :2]
    assert torch.allclose(coordinates.abs(), expected.abs(), atol=1e-6)
    again, _ = principal_axes(points.flip(0).flip(0), 2)
    assert torch.equal(again, coordinates)
    nothing, none = principal_axes(torch.ones(4, width), 2)
    assert nothing.abs().max() < 1e-6
    assert none.tolist() == [0, 0]
