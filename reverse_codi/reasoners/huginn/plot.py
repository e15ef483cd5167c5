"""Trajectories on their principal axes, as a Plotly figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from reverse_codi.reasoners.huginn.trajectories import TrajectoryKind, principal_axes

COLOURS = {
    TrajectoryKind.FIXED_POINT: "#4477aa",
    TrajectoryKind.ORBIT: "#cc6677",
    TrajectoryKind.DRIFT: "#ddaa33",
    TrajectoryKind.UNSETTLED: "#999999",
}


def figure(
    states: Tensor,
    names: Sequence[str],
    kinds: Sequence[TrajectoryKind],
    notes: Sequence[Sequence[str]],
    axes: int = 3,
) -> dict[str, Any]:
    """A Plotly figure: one line for each token, one point for each iteration, coloured by class.

    All tokens share the principal axes. These come from the tail; otherwise the random start would dominate
    them.

    Args:
        states: [n + 1, T, d].
        names: T names of tokens.
        kinds: T classes.
        notes: for each token n + 1 texts beside its points.
        axes: 2 or 3 principal axes.
    """
    tail = states[len(states) // 4 :]  # [m, T, d]
    coordinates, share = principal_axes(tail.flatten(0, 1), axes)
    points = coordinates.unflatten(0, tail.shape[:2])  # [m, T, axes]
    first = len(states) - len(tail)
    lines = []
    for token, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        sizes = [3] * (len(tail) - 1) + [8]  # the last state stands out
        line = {
            "type": "scatter3d" if axes == 3 else "scatter",
            "mode": "lines+markers",
            "name": f"{name} ({kind})",
            "legendgroup": str(kind),
            "line": {"color": COLOURS[kind], "width": 2},
            "marker": {"color": COLOURS[kind], "size": sizes},
            "text": [f"iteration {first + i}: {notes[token][first + i]}" for i in range(len(tail))],
            "hoverinfo": "text+name",
        }
        lines.append(line | {axis: points[:, token, i].tolist() for i, axis in enumerate("xyz"[:axes])})
    titles = {
        f"{axis}axis": {"title": {"text": f"axis {i + 1} ({float(share[i]):.0%} of variance)"}}
        for i, axis in enumerate("xyz"[:axes])
    }
    title = {"text": f"States after iterations {first} to {len(states) - 1}"}
    return {"data": lines, "layout": {"title": title, **({"scene": titles} if axes == 3 else titles)}}
