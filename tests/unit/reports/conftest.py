"""A report of the tiny reasoner's traces, and the files of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reverse_codi import Verbalizer
from reverse_codi.reports.records import TraceReport
from reverse_codi.reports.traces import Rows, task_of, trace_report
from tests.tiny import make_problems

QUESTIONS = [problem.question for problem in make_problems(3)]
SAMPLES = 4
QUESTION = "Ann has 12 <b>apples</b>."


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


def lines(file: Path, *records: dict[str, Any], cut: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records) + cut)


def completion(step: int, text: str, total: float, site: str = "h1") -> dict[str, Any]:
    own = {"step": step, "policy": step + 1, "site": site, "question": QUESTION, "text": text}
    return {**own, "match": total / 2, "total": total, "reward/hidden_match": total}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of GRPO alone that is still going on."""
    folder = tmp_path / "run"
    lines(
        folder / "metrics.jsonl",
        {"step": 0, "heldout/match": 0.1, "heldout/claim": 0.0},
        {"step": 1, "loss": 0.5, "reward": -1.0, "rewards/brevity/mean": -0.5, "rewards/brevity/std": 9.0,
         "kl": 0.0, "seconds/generate": 2.0, "seconds/train": 3.0},
        {"step": 2, "heldout/match": 0.3, "heldout/claim": 0.25},
        {"step": 2, "loss": 0.25, "reward": 1.0, "rewards/brevity/mean": None, "kl": 0.01,
         "seconds/generate": 2.5, "seconds/train": 3.5},
        cut='{"step": 3, "lo',
    )  # fmt: skip
    lines(folder / "completions.jsonl", *(completion(step, "12 + 5 = 17.", 1.0) for step in range(20)))
    lines(
        folder / "memory.jsonl",
        {"stage": "grpo", "process": "trainer", "seconds": 60.5, "peak_gib": 1.5, "gpu_gib": 0.0,
         "planned_gib": 1.4},
        {"stage": "grpo", "process": "reward 0", "peak_gib": 0.5, "gpu_gib": 0.0, "planned_gib": None},
    )  # fmt: skip
    (folder / "warm_curve.csv").write_text("step,seconds,match,claim\n100,3.5,-0.5,0.1\n200,7.0,0.05,0.2\n")
    return folder
