"""The demo leaves a run like any other's: its report shows its traces, wherever the folder is by then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rich.console import Console

from reverse_codi.cli.jobs.demo import demo
from reverse_codi.cli.output import Output
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.reports.make import Wanted, make_report

pytestmark = pytest.mark.long


def test_the_demos_folder_is_reported_with_its_traces(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    keys = ["--trace.out", str(out / "traces"), "--trace.n", "200", "--trace.n_heldout", "20"]
    recipe = load_recipe(["demo", *keys, "--reinforce", "[]", "--grpo.steps", "0"])
    figures = demo(recipe, out, Output(Console(quiet=True), Console(quiet=True)))
    assert figures["match_before"] == figures["match_after"]  # nothing was learnt
    moved = Path(shutil.move(out, tmp_path / "moved"))
    report = make_report(Wanted(what=[str(moved)], traces=2, samples=1, effects=False))
    assert report.notes == []
    assert report.traces is not None
    assert len(report.traces.traces) == 2
    assert report.run is not None
    assert report.run.missing == []
