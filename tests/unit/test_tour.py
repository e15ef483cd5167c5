"""The notebook of examples/: executed, its outputs are those that the file keeps."""

from __future__ import annotations

import re
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "examples/tour.ipynb"
NUMBER = re.compile(r"-?\d*\.\d+")
# Figures of two to three decimals, and samples that another machine may round into another word.
TOLERANCE = 0.05


def outputs(notebook: Any) -> list[tuple[str, str]]:
    """(source, text) of every output, as HTML and as plain text."""
    return [
        (cell.source, text)
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        for text in (output.get("text", ""), *(text for _, text in sorted(output.get("data", {}).items())))
    ]


def kept() -> Any:
    return pytest.importorskip("nbformat").read(TOUR, as_version=4)


def test_the_file_is_small_and_was_executed() -> None:
    notebook = kept()
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in codes] == list(range(1, len(codes) + 1))
    assert all(cell.outputs for cell in codes) and TOUR.stat().st_size < 50_000
    assert not any(output.output_type == "error" for cell in codes for output in cell.outputs)
    shown = " ".join(text for _, text in outputs(notebook))
    for part in ("28 - 4 = 24.", "('The answer is: 56', 'The answer is: 54')", "Trial of short_match"):
        assert part in shown
    assert not re.search(r"/(home|root|work|tmp)/", TOUR.read_text())


@pytest.mark.slow
def test_it_gives_what_it_keeps() -> None:
    pytest.importorskip("nbclient")
    loader = SourceFileLoader("make_tour", str(ROOT / "scripts/make_tour"))
    module = ModuleType(loader.name)
    module.__file__ = loader.path
    loader.exec_module(module)
    again, before = outputs(module.executed(TOUR)), outputs(kept())
    assert len(again) == len(before)
    for (source, now), (_, then) in zip(again, before, strict=True):
        words, wanted = (NUMBER.sub("#", text).split() for text in (now, then))  # columns fit their figures
        assert words == wanted, f"{source}\n\nrun scripts/make_tour"
        figures = zip(NUMBER.findall(now), NUMBER.findall(then), strict=True)
        assert all(abs(float(a) - float(b)) <= TOLERANCE for a, b in figures), source
