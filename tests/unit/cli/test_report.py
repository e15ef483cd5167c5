"""The verb `report`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reverse_codi.cli.report import main
from reverse_codi.errors import UserError
from reverse_codi.storage.outputs import OutputError
from reverse_codi.traces.store import TraceStore
from reverse_codi.trackers import tracker
from tests.tiny import make_problems, make_tiny_reasoner, make_tiny_traces

QUESTIONS = [problem.question for problem in make_problems(3)]


@pytest.fixture
def verb(tiny_folders: tuple[Path, Path], tiny_verbalizer: Path) -> Callable[..., None]:
    """The verb on the tiny folders, quick."""
    rest = ["--reasoner", str(tiny_folders[0]), "--verbalizer", str(tiny_verbalizer), "--samples", "1"]
    return lambda *words: main([*words, *rest, "--no-effects"])


def test_questions_and_stores_become_one_page(
    verb: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, store, out = tmp_path / "q.txt", tmp_path / "store", tmp_path / "report.html"
    file.write_text("\n".join(QUESTIONS[:2]) + "\n")
    make_tiny_traces(make_tiny_reasoner(), store, 5)
    verb(str(file), str(store), "--out", str(out), "--traces", "3")
    printed = capsys.readouterr()
    assert printed.out.split() == ["report:", str(out)]
    assert "3 traces of 3 thoughts: 18 texts to write" in printed.err
    assert "4 more are left out (--traces)" in printed.err
    page = out.read_text()
    assert page.count('<article class="trace"') == 3 and f"{store}[0]" in page and f"{store}[1]" not in page
    assert all(question in page for question in QUESTIONS[:2])


def test_a_run_without_a_verbalizer_shows_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 0.5, "kl": 0.1}) + "\n")
    main([str(tmp_path), "--out", str(tmp_path / "report.html")])
    page = (tmp_path / "report.html").read_text()
    assert "the run has no verbalizer yet" in page and "KL to the policy before" in page
    assert '<article class="trace"' not in page


def test_what_cannot_be_reported_is_refused_before_any_work(tmp_path: Path, tiny_traces: TraceStore) -> None:
    with pytest.raises(OutputError, match=r"end its name in \.html"):
        main(["A question?", "--out", "report.pdf"])
    (tmp_path / "stages.jsonl").write_text("")
    with pytest.raises(UserError, match="which a report is of alone"):
        main([str(tmp_path), "A question?", "--out", str(tmp_path / "x.html")])
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="is a folder, and no trace store"):
        main([str(tmp_path / "folder"), "--out", str(tmp_path / "x.html")])


def test_a_tracker_that_is_gone_costs_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 0.5, "kl": 0.1}) + "\n")
    (tmp_path / "recipe.yaml").write_text("log: {report_to: [trackio]}\n")
    (tmp_path / "trackers.json").write_text(json.dumps({"group": "g", "runs": {}}))
    known = importlib.util.find_spec
    monkeypatch.setattr(
        tracker.importlib.util, "find_spec", lambda asked: None if asked == "trackio" else known(asked)
    )
    main([str(tmp_path), "--out", str(tmp_path / "report.html")])
    assert "KL to the policy before" in (tmp_path / "report.html").read_text()
    assert "is no artifact of the run's trackers: log.report_to names trackio" in capsys.readouterr().err
