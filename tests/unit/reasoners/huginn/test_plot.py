from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from reverse_codi.reasoners.huginn import plot
from reverse_codi.reasoners.huginn.trajectories import TrajectoryKind
from reverse_codi.utils.pages import write_page

STATES = torch.randn(13, 2, 6, generator=torch.Generator().manual_seed(0))
NOTES = [[f"{token}-{i}" for i in range(13)] for token in "ab"]


@pytest.mark.parametrize(("axes", "kind"), [(3, "scatter3d"), (2, "scatter")])
def test_one_line_a_token_and_one_point_an_iteration(axes: int, kind: str) -> None:
    shown = plot.figure(
        STATES, ["t0 'a'", "t1 'b'"], [TrajectoryKind.ORBIT, TrajectoryKind.DRIFT], NOTES, axes
    )
    first, second = shown["data"]
    assert (first["type"], first["name"], second["name"]) == (kind, "t0 'a' (orbit)", "t1 'b' (drift)")
    assert first["line"]["color"] != second["line"]["color"]
    # The first quarter of 12 iterations is left out.
    assert [len(first[axis]) for axis in "xyz"[:axes]] == [10] * axes
    assert ("z" in first) == (axes == 3)
    assert first["text"][0] == "iteration 3: a-3"
    assert second["text"][-1] == "iteration 12: b-12"
    titles = shown["layout"]["scene"] if axes == 3 else shown["layout"]
    assert titles["xaxis"]["title"]["text"].startswith("axis 1 (")


def test_all_axes_keep_all_distances() -> None:
    flat = torch.zeros(13, 2, 6)
    flat[..., :2] = STATES[..., :2]
    first, second = plot.figure(flat, "ab", [TrajectoryKind.ORBIT] * 2, NOTES, 2)["data"]
    points = torch.tensor([[first["x"], first["y"]], [second["x"], second["y"]]])  # [T, 2, m]
    across = (points[0] - points[1]).norm(dim=0)
    assert torch.allclose(across, (flat[3:, 0] - flat[3:, 1]).norm(dim=-1), atol=1e-5)


def test_a_page_stands_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_page(page, plot.figure(STATES, "ab", [TrajectoryKind.ORBIT] * 2, NOTES))
    text = page.read_text()
    assert "iteration 12: b-12" in text
    assert not re.search(r"<script[^>]*\ssrc=", text)
