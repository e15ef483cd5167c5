"""What a report reads of a run's folder and of an ablation table's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.reports.ablations import Cell, ablation_report, is_ablation
from reverse_codi.reports.completions import STEPS, TEXTS, completion_sample
from reverse_codi.reports.runs import is_run, run_report
from tests.unit.reports.conftest import completion, lines


def test_curves_hold_what_the_files_say(run: Path) -> None:
    assert is_run(run) and not is_ablation(run)
    report = run_report(run)
    [warm] = report.overall
    assert [(line.name, list(line.x), list(line.y)) for line in warm.series] == [
        ("match", [100, 200], [-0.5, 0.05]),
        ("claim", [100, 200], [0.1, 0.2]),
    ]
    [grpo] = report.learning
    assert grpo.heldout is not None and grpo.phases is not None
    assert [(s.name, list(s.x), list(s.y)) for s in grpo.heldout.series] == [
        ("match", [0, 2], [0.1, 0.3]),
        ("claim", [0, 2], [0.0, 0.25]),
    ]
    assert [curves.title for curves in grpo.training] == ["Reward", "KL to the policy before", "Loss"]
    rewards = grpo.training[0].series
    assert [(s.name, list(s.y)) for s in rewards] == [("reward", [-1.0, 1.0]), ("brevity", [-0.5, None])]
    assert [(s.name, list(s.y)) for s in grpo.phases.series] == [
        ("generate", [2.0, 2.5]),
        ("train", [3.0, 3.5]),
    ]
    assert [(each.process, each.seconds, each.planned_gib) for each in report.memory] == [
        ("trainer", 60.5, 1.4),
        ("reward 0", None, None),
    ]
    assert list(report.missing) == ["recipe.yaml", "verbalizer"]


def test_completions_are_sampled_over_the_run_and_counted(run: Path) -> None:
    sample = run_report(run).learning[0].completions
    assert sample is not None
    assert [each.step for each in sample.thoughts] == [0, 3, 5, 8, 11, 14, 16, 19]
    assert (sample.shown, sample.total, len(sample.thoughts)) == (8, 20, STEPS)


def test_equal_texts_of_a_thought_are_one_row_and_the_middle_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "completions.jsonl"
    texts = [completion(0, f"{n} + 1 = {n + 1}.", float(n)) for n in range(9)]
    others = [completion(0, "1 + 1 = 2.", 7.0, site) for site in ("h2", "h3")]
    lines(file, *texts, texts[8], *others)
    sample = completion_sample(file)
    assert sample is not None
    first, second = sample.thoughts  # two thoughts a step: h3 is none of them
    assert (first.site, second.site) == ("h1", "h2")
    assert [(text.total, text.count) for text in first.texts] == [
        (8, 2),
        (7, 1),
        (6, 1),
        (2, 1),
        (1, 1),
        (0, 1),
    ]
    assert first.left_out == 9 - TEXTS and (sample.shown, sample.total) == (8, 12)
    assert first.texts[0].rewards == {"hidden_match": 8.0} and first.texts[0].match == 4.0


def test_an_empty_folder_is_no_run_and_no_table(tmp_path: Path) -> None:
    assert not is_run(tmp_path) and not is_ablation(tmp_path)
    assert completion_sample(tmp_path / "completions.jsonl") is None


def row(folder: Path, value: float | None, **more: Any) -> None:
    figure = {"value": value, "low": None, "high": None, **more}
    file = folder / "evaluation/metrics.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"heldout.claim": figure, "unknown": figure}))


def test_an_ablation_table_is_read_with_its_seeds(tmp_path: Path) -> None:
    row(tmp_path / "seed-0/rank", 0.5)
    row(tmp_path / "seed-1/rank", 0.6)
    row(tmp_path / "base", 0.4, low=0.3, high=0.55)
    (tmp_path / "later/train").mkdir(parents=True)
    assert is_ablation(tmp_path)
    found = ablation_report(tmp_path)
    assert found.figures == ["heldout.claim"] and list(found.rows) == ["base", "rank"]
    assert found.rows["base"]["heldout.claim"] == Cell(0.4, pytest.approx(0.125))
    rank = found.rows["rank"]["heldout.claim"]
    assert (
        rank is not None
        and rank.value == pytest.approx(0.55)
        and rank.half == pytest.approx(0.0707, abs=1e-4)
    )
    assert found.seeds == {"base": 0, "rank": 2} and found.unfinished == ["later"]
