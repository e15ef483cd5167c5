from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reverse_codi.evaluation import ceilings
from reverse_codi.evaluation.ceilings import ProbedStep, answered, intermediate, probe_hits
from reverse_codi.reasoners.sites import Site
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.log import show_log
from tests.fakes import make_store, printed, screen


@pytest.fixture
def traces(tmp_path: Path) -> TraceStore:
    claims = [
        ["1 + 1 = 2"],
        ["1 + 2 = 3", "3 * 2 = 6"],
        ["4 + 2 = 6", "6 - 1 = 5"],
        ["2 + 2 = 4", "4 / 2 = 2"],
    ]
    states = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    correct = [True, True, False, False]
    return make_store(tmp_path, ["2", "6", "4", None], None, claims, correct, states)


def test_a_result_is_asked_of_right_traces_that_go_on_after_it(traces: TraceStore) -> None:
    asked = intermediate(traces, 0)
    assert (asked.site, asked.rows, asked.labels) == (Site("h", 0), [1], ["3"])
    assert intermediate(traces, 1).rows == []


def test_own_answers_are_asked_of_the_last_thought_and_errors_weigh_more(traces: TraceStore) -> None:
    every, wrong = answered(traces, 2, False), answered(traces, 2, True)
    assert (every.site, every.rows, every.labels) == (Site("h", 1), [1, 2], ["6", "4"])
    assert every.weights == [1.0, ceilings.WRONG_WEIGHT]
    assert (wrong.rows, wrong.labels) == ([2], ["4"])


def test_a_bar_shows_how_many_probes_were_fitted(traces: TraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four for each group of traces that has rows: one of step results, one of wrong answers."""
    monkeypatch.setattr(ceilings, "STEPS_OF_SGD", 2)
    console = show_log(screen(terminal=True))
    found = ceilings.ceilings(traces, traces, 2)
    assert "probes" in printed(console) and "8/8" in printed(console)
    assert {name: figure.n for name, figure in found.items() if name.endswith("z.hidden")} == {
        "step_result.1.z.hidden": 1,
        "step_result.2.z.hidden": 0,
        "wrong.z.hidden": 1,
    }


@pytest.mark.parametrize(("hidden", "low", "high"), [(0, 0.0, 0.75), (16, 0.95, 1.0)])
def test_a_hidden_layer_tells_what_no_plane_parts(
    monkeypatch: pytest.MonkeyPatch, hidden: int, low: float, high: float
) -> None:
    monkeypatch.setattr(ceilings, "STEPS_OF_SGD", 400)
    points = torch.rand(1200, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    points = points[points.abs().min(1).values > 0.1]
    labels = ["same" if x * y > 0 else "other" for x, y in points.tolist()]
    half = len(points) // 2

    def part(rows: range) -> tuple[torch.Tensor, ProbedStep]:
        chosen = [labels[row] for row in rows]
        return points[list(rows)], ProbedStep(Site("h", 0), list(rows), chosen, [1.0] * len(chosen))

    hits = probe_hits(part(range(half)), part(range(half, len(points))), hidden, seed=0)
    assert low <= sum(hits) / len(hits) <= high
    assert probe_hits(part(range(half)), part(range(half, len(points))), hidden, seed=0) == hits
