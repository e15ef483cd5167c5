from __future__ import annotations

import json
from pathlib import Path

import pytest

from reverse_codi.cli.curves import main, tables
from reverse_codi.errors import UserError
from reverse_codi.reports.runs import run_report
from reverse_codi.training.curves import plot, points

LINES = [
    {"stage": "00-warm", "seconds": 0, "total/texts": 0, "total/seconds": 0, "heldout/claim": 0.1},
    {"stage": "01-search", "seconds": 60, "total/texts": 800, "total/seconds": 60, "store/right": 0.9},
    {"stage": "02-distil", "seconds": 100, "total/texts": 800, "total/seconds": 160, "heldout/claim": 0.7},
    {"stage": "03-grpo", "seconds": 40, "total/texts": 1000, "total/seconds": 200, "heldout/claim": 0.8},
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "stages.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    folder = tmp_path / "reinforce" / "02-distil"
    folder.mkdir(parents=True)
    (folder / "curve.csv").write_text("step,seconds,match,claim\n10,48.0,0.2,0.5\n20,99.5,0.4,0.7\n")
    return tmp_path


def test_each_evaluation_has_the_texts_and_seconds_of_all_stages_before_it(run: Path) -> None:
    found = [(p.stage, p.step, p.texts, p.seconds, p.figures["claim"]) for p in points(run)]
    assert found == [
        ("00-warm", None, 0, 0, 0.1),
        ("02-distil", 10, 800, 108.0, 0.5),
        ("02-distil", 20, 800, 159.5, 0.7),
        ("03-grpo", None, 1000, 200, 0.8),
    ]


def test_a_figure_is_drawn_against_both(run: Path) -> None:
    texts, seconds = plot({"a": points(run)}, ["claim"])["data"]
    assert (texts["x"], texts["xaxis"]) == ([0, 800, 800, 1000], "x")
    assert (seconds["x"], seconds["xaxis"]) == ([0, 108.0, 159.5, 200], "x2")
    assert texts["y"] == seconds["y"] == [0.1, 0.5, 0.7, 0.8]
    assert texts["text"][1] == "02-distil, step 10"
    assert plot({"a": points(run)}, ["match"])["data"][0]["x"] == [800, 800]  # where it was measured


def test_an_older_run_without_seconds_within_a_stage_is_shown_against_texts(run: Path) -> None:
    (run / "reinforce/02-distil/curve.csv").write_text("step,match,claim\n10,0.2,0.5\n20,0.4,0.7\n")
    assert [(p.step, p.seconds) for p in points(run)] == [(None, 0), (10, None), (20, None), (None, 200)]
    texts, seconds = plot({"a": points(run)}, ["claim"])["data"]
    assert (texts["x"], texts["y"]) == ([0, 800, 800, 1000], [0.1, 0.5, 0.7, 0.8])
    assert (seconds["x"], seconds["y"]) == ([0, 200], [0.1, 0.8])
    [table] = tables("a", points(run), ["claim"])
    assert table.column("seconds") == ["0", "", "", "200"]
    [stages] = [each for each in run_report(run).overall if each.across == "texts sampled"]
    assert (stages.series[0].name, list(stages.series[0].y)) == ("claim", [0.1, 0.5, 0.7, 0.8])


def test_the_command_prints_a_line_a_point_and_writes_the_page(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(run), "--figures", "claim", "--out", str(run / "page.html")])
    assert "800" in capsys.readouterr().out
    assert "02-distil, step 10" in (run / "page.html").read_text()
    with pytest.raises(UserError, match=r"no run has the held-out figure 'claims'; there are claim, match"):
        main([str(run), "--figures", "claims", "--out", str(run / "page.html")])


def test_a_folder_without_stages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no stages\.jsonl; give the train\.out of a run"):
        points(tmp_path)
