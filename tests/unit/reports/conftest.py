"""A report of the tiny reasoner's traces, and one of texts that would break a page that does not escape."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi import Verbalizer
from reverse_codi.reports.records import TraceReport
from reverse_codi.reports.traces import Rows, task_of, trace_report
from tests.tiny import make_problems

QUESTIONS = [problem.question for problem in make_problems(3)]
SAMPLES = 4


@pytest.fixture(scope="session")
def verbalizer(tiny_folders: tuple[Path, Path], tiny_verbalizer: Path) -> Verbalizer:
    return Verbalizer.from_pretrained(tiny_verbalizer, reasoner=tiny_folders[0], max_new_tokens=6)


@pytest.fixture(scope="session")
def tiny_report(verbalizer: Verbalizer) -> TraceReport:
    rows = [Rows.of_questions(verbalizer, QUESTIONS)]
    return trace_report(verbalizer, task_of(verbalizer), rows, SAMPLES, given=7)


@pytest.fixture(scope="session")
def embedded() -> Verbalizer:
    return Verbalizer.from_pretrained("embedded")
