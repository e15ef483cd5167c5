"""The page: well-formed, escaped, complete, and without a link to anywhere."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reverse_codi.reports.ablations import AblationReport, Cell
from reverse_codi.reports.charts import map_chart
from reverse_codi.reports.page import page, write_report
from reverse_codi.reports.records import TraceReport
from reverse_codi.reports.report import Report
from reverse_codi.reports.runs import run_report
from tests.unit.reports.conftest import lines

NASTY = "<script>alert('x')</script> & \"24 < 48\""
VOID = {"meta", "link", "input", "br"}


class Checked(HTMLParser):
    """Collects tags, texts and attributes, and refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.json: dict[str, object] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        found = dict(attrs)
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.links += [value for key, value in attrs if key in ("href", "src") and value]
        self.open += [] if tag in VOID else [tag]
        self.in_json = tag == "script" and found.get("type") == "application/json"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.json = json.loads(data) if self.in_json else self.json
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def shown(tiny_report: TraceReport) -> Checked:
    return Checked(page(Report("Title", "reasoner", "verbalizer", tiny_report, notes=["A note."])))


def test_all_of_a_trace_is_on_the_page(shown: Checked, tiny_report: TraceReport) -> None:
    words = " ".join(shown.text.split())
    for trace in tiny_report.traces:
        assert trace.question in words and trace.chain in words
        for card in trace.thoughts:
            assert " ".join((card.row.text or "(empty)").split()) in words and card.row.reason in words
    assert "A note." in words and "3 traces of 7; 4 are left out" in words
    assert shown.tags["article"] == 3 + 4 and len(shown.ids) == len(set(shown.ids))
    assert words.count("Match, beside its controls") == 9


def test_nothing_is_loaded_from_anywhere(shown: Checked) -> None:
    assert shown.links and all(link.startswith("#") or link == "data:," for link in shown.links)
    assert {link[1:] for link in shown.links if link.startswith("#")} <= set(shown.ids)
    assert shown.tags["script"] == 3 and shown.tags["link"] == 1 and shown.tags["img"] == 0


def test_plotly_is_there_once_and_only_where_a_chart_is(tiny_report: TraceReport) -> None:
    with_map = page(Report("x", traces=tiny_report))
    without = page(Report("x", traces=dataclasses.replace(tiny_report, map=None)))
    assert len(with_map) - len(without) > 3_000_000 and len(without) < 300_000


def test_texts_of_models_and_users_are_escaped(tiny_report: TraceReport) -> None:
    [trace, *_] = tiny_report.traces
    row = dataclasses.replace(trace.thoughts[0].row, translation=NASTY, lens=[NASTY] * 5)
    options = [dataclasses.replace(trace.thoughts[0].options[0], text=NASTY)]
    card = dataclasses.replace(trace.thoughts[0], row=row, options=options)
    heat = dataclasses.replace(trace.heat, texts=[NASTY] * len(trace.heat.texts))
    nasty = dataclasses.replace(
        trace, question=NASTY, source=NASTY, output=NASTY, gold=NASTY, chain=NASTY, thoughts=[card], heat=heat
    )
    assert tiny_report.map is not None
    points = [dataclasses.replace(point, text=NASTY) for point in tiny_report.map.points]
    of_map = dataclasses.replace(tiny_report.map, points=points)
    report = dataclasses.replace(tiny_report, traces=[nasty], map=of_map)
    text = page(Report(NASTY, NASTY, NASTY, report, notes=[NASTY]))
    assert "<script>alert" not in text
    found = Checked(text)
    assert found.tags["script"] == 3 and found.text.count(NASTY) >= 10
    labels = [label for line in map_chart(of_map, ["h0"])["data"] for label in line.get("text", ()) if label]
    assert labels and not any("<script>" in label for label in labels)  # Plotly reads labels as HTML


def test_figures_that_are_not_finite_are_no_json_errors(tiny_report: TraceReport) -> None:
    assert tiny_report.map is not None
    points = [dataclasses.replace(point, x=float("nan")) for point in tiny_report.map.points]
    report = dataclasses.replace(tiny_report, map=dataclasses.replace(tiny_report.map, points=points))
    text = page(Report("x", traces=report))
    embedded = re.search(r'id="charts">(.*?)</script>', text)
    assert embedded and "NaN" not in embedded[1] and json.loads(embedded[1])


def test_a_run_and_a_table(run: Path, tmp_path: Path) -> None:
    lines(run / "recipe.yaml", {"a": "<b>"})
    rows = {"base": {"operands": Cell(0.5, 0.025)}, "<i>": {"operands": None}}
    table = AblationReport("runs/x", ["operands"], rows, {"base": 2, "<i>": 0}, ["late"])
    write_report(Report("x", run=run_report(run), ablation=table), tmp_path / "new/report.html")
    found = Checked((tmp_path / "new/report.html").read_text())
    assert "8 of 20 texts are shown; 12 are left out" in found.text
    assert "0.500 ± 0.025" in found.text and "Not finished: late" in found.text and "<i>" in found.text
    assert "This run has no verbalizer" in found.text
    titles = {"Held-out thoughts in the warm start", "Seconds a step", "Reward"}
    assert titles <= set(found.texts) and found.text.count("12 + 5 = 17.") == 8
    assert len(found.json) == 7  # warm start, held-out, phases, reward, KL, loss, the table's figure
