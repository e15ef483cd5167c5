"""What a report computes of traces, against the parts that it is made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from reverse_codi import Site, TraceStore, Verbalizer
from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.interventions.replace import Replacement, inputs_of_texts
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.base import Patch
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import ANSWER
from reverse_codi.reports import traces as module
from reverse_codi.reports.alternatives import alternatives
from reverse_codi.reports.page import page
from reverse_codi.reports.records import REPLACEMENTS, Control, PointKind, TraceReport
from reverse_codi.reports.report import Report
from reverse_codi.reports.text_matches import match_map
from reverse_codi.reports.traces import Rows, task_of, trace_report
from reverse_codi.tasks.answers import answer_of
from reverse_codi.verbalize.translations.record import Translation
from tests.tiny import make_problems, make_tiny_policy
from tests.unit.reports.conftest import QUESTIONS, SAMPLES

WORKED = (
    "There are 28 tickets on the table of Dan. He sells 4 of them. Then he makes it 2 times as many. "
    "Noah brings 12 more. He loses 4. How many tickets is that in the end?"
)


def test_translations_are_those_of_the_verbalizer(verbalizer: Verbalizer, tiny_report: TraceReport) -> None:
    said = verbalizer.translate(QUESTIONS)
    assert [card.row.text for trace in tiny_report.traces for card in trace.thoughts] == [
        row.text for row in said
    ]
    assert [trace.chain for trace in tiny_report.traces] == said.chain()
    assert [trace.question for trace in tiny_report.traces] == QUESTIONS
    assert (tiny_report.left_out, tiny_report.sites) == (4, ["h0", "h1", "h2"])


def test_every_match_is_that_of_the_text_with_the_thought(
    verbalizer: Verbalizer, tiny_report: TraceReport
) -> None:
    hidden = verbalizer.reasoner.think(QUESTIONS).hidden_states
    for n, trace in enumerate(tiny_report.traces):
        for k, card in enumerate(trace.thoughts):
            texts = [option.text for option in card.options] + [control.text for control in card.controls]
            sites = [Site("h", k)] * len(texts)
            predicted = verbalizer.metric.predict(texts, sites)
            wanted = verbalizer.metric.match(hidden[n, k].expand(len(texts), -1), predicted, sites).tolist()
            found = [option.match for option in card.options] + [control.match for control in card.controls]
            assert found == pytest.approx(wanted, abs=1e-3, rel=1e-3)
            assert {control.kind for control in card.controls} >= {Control.EMPTY, Control.CONSTANT}
            assert sum(option.count for option in card.options) == SAMPLES
            assert sum(option.share or 0 for option in card.options) == pytest.approx(1)
            assert card.options[0].greedy and card.options[0].text == card.row.text
            own = trace.heat.match[trace.heat.texts.index(card.row.text)][k] if card.row.text else None
            assert own is None or own == pytest.approx(card.row.match, abs=1e-3, rel=1e-3)


def test_effects_are_the_answers_with_one_thought_replaced(
    verbalizer: Verbalizer, tiny_report: TraceReport
) -> None:
    reasoner, task = verbalizer.reasoner, task_of(verbalizer)
    texts = [[card.row.text for card in trace.thoughts] for trace in tiny_report.traces]
    vectors = inputs_of_texts(reasoner, verbalizer.metric, texts, QUESTIONS)
    for k in range(3):
        where = torch.zeros(3, 3, dtype=torch.bool)
        where[:, k] = True
        outputs = reasoner.think(QUESTIONS, Patch(vectors, where)).outputs
        for trace, output in zip(tiny_report.traces, outputs, strict=True):
            effects = trace.thoughts[k].effects
            assert [effect.kind for effect in effects[: len(REPLACEMENTS)]] == list(REPLACEMENTS)
            assert effects[0].text == trace.thoughts[k].row.text
            assert effects[0].answer == answer_of(reasoner, task, output)


def test_the_embedded_models_trace(embedded: Verbalizer) -> None:
    rows = [Rows.of_questions(embedded, [WORKED])]
    report = trace_report(embedded, task_of(embedded), rows, samples=8)
    [trace] = report.traces
    assert trace.chain == "28 - 4 = 24. 24 * 2 = 48. 48 + 12 = 60. 60 - 4 = 56."
    assert (trace.answer, trace.trusted, trace.right) == ("56", 4, None)
    for card in trace.thoughts:
        by_kind = {effect.kind: effect for effect in card.effects}
        assert by_kind[Replacement.TRANSLATION].met and not by_kind[Replacement.OTHER_TEXT].met
        match = {control.kind: control.match for control in card.controls}
        assert card.row.match is not None and card.row.match > max(match[Control.OTHER], 0)
        assert match[Control.SEARCH] == pytest.approx(card.row.match, abs=1e-3)  # it finds the same steps
    edits = [effect for card in trace.thoughts for effect in card.effects if effect.kind is None]
    assert edits and all(effect.met and effect.answer == effect.expected != "56" for effect in edits)
    best = [max(column) for column in zip(*trace.heat.match, strict=True)]
    own = [trace.heat.match[row][row] for row in range(4)]
    assert best == own and [flags.index(True) for flags in trace.heat.greedy[:4]] == [0, 1, 2, 3]
    assert report.figures["kept.translation"].value == 1 and report.figures["edit"].value == 1
    assert report.map is not None
    kinds = [point.kind for point in report.map.points]
    assert kinds.count(PointKind.THOUGHT) == kinds.count(PointKind.TEXT) == 4


def test_without_samples_and_effects_nothing_is_sampled_or_replaced(verbalizer: Verbalizer) -> None:
    rows = [Rows.of_questions(verbalizer, QUESTIONS[:1])]
    report = trace_report(verbalizer, task_of(verbalizer), rows, 0, replace=False)
    for card in report.traces[0].thoughts:
        assert not card.effects and [(o.count, o.share) for o in card.options] == [(0, None)]
    assert (report.asked.written, report.asked.thought) == (3, 1)


def test_chunks_change_nothing_but_the_samples(
    verbalizer: Verbalizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cards(chunk: int) -> list[tuple[object, ...]]:
        monkeypatch.setattr(module, "CHUNK", chunk)
        rows = [Rows.of_questions(verbalizer, QUESTIONS)]
        found = trace_report(verbalizer, task_of(verbalizer), rows, 0).traces
        return [
            (card.row.text, [effect.answer for effect in card.effects])
            for trace in found
            for card in trace.thoughts
        ]

    assert cards(1) == cards(3)


def test_a_store_gives_its_first_traces_with_their_gold_answers(
    verbalizer: Verbalizer, tiny_traces: TraceStore
) -> None:
    rows = Rows.of_store(verbalizer, tiny_traces, "store", 2)
    report = trace_report(verbalizer, task_of(verbalizer), [rows], 0, replace=False, given=len(tiny_traces))
    assert [trace.source for trace in report.traces] == ["store[0]", "store[1]"]
    assert [trace.gold for trace in report.traces] == tiny_traces.gold[:2]
    assert [trace.right for trace in report.traces] == [bool(flag) for flag in tiny_traces.correct[:2]]
    assert report.left_out == 198


def test_the_cost_is_counted(tiny_report: TraceReport) -> None:
    asked = dataclasses.replace(tiny_report.asked, traces=20, thoughts=6, samples=16)
    assert asked.written == 20 * 6 * 17
    assert asked.read == 20 * 6 * (17 + 5 + 1)  # five controls, and an edit
    assert asked.thought == 20 * (2 + 6 * 6)  # once for the thoughts, once for the answers, six replacements


def test_a_heat_map_leaves_out_the_rarest() -> None:
    rows = [Translation(None, "h0", "1 + 1 = 2.", 0.9, 1.0, None, None)]
    options = [alternatives("1 + 1 = 2.", ["2 + 2 = 4.", "3 + 3 = 6.", "3 + 3 = 6.", "so"])]
    matches = {Site("h", 0): {"1 + 1 = 2.": 0.9, "2 + 2 = 4.": 0.1, "3 + 3 = 6.": 0.2}}
    heat = match_map(rows, options, matches, most=2)
    assert list(heat.texts) == ["1 + 1 = 2.", "3 + 3 = 6."] and heat.left_out == 1
    assert list(heat.match) == [[0.9], [0.2]] and list(heat.greedy) == [[True], [False]]


def test_a_verbalizer_of_whole_traces_has_one_card_a_trace(
    tiny_folders: tuple[Path, Path], tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric, tmp_path: Path
) -> None:
    make_tiny_policy(tiny_reasoner, n_slots=3).save(tmp_path)
    asked = [problem.question for problem in make_problems(128)]
    features = tiny_metric.reader.features([problem.claims[-1] for problem in make_problems(128)])
    maps = {ANSWER: AffineMap.fit(features, tiny_reasoner.answer_states(asked), 0.1)}
    ThoughtMetric(tiny_metric.reader, maps).save(tmp_path)
    whole = Verbalizer.from_pretrained(tmp_path, reasoner=tiny_folders[0], max_new_tokens=6)
    report = trace_report(whole, task_of(whole), [Rows.of_questions(whole, QUESTIONS)], SAMPLES)
    assert [[card.row.site for card in trace.thoughts] for trace in report.traces] == [["answer"]] * 3
    assert not report.asked.effects and report.asked.thought == 3
    for trace in report.traces:
        [card] = trace.thoughts
        assert not card.effects and sum(option.count for option in card.options) == SAMPLES
        # No lens search of whole traces; the others are those of this report.
        assert Control.SEARCH not in {control.kind for control in card.controls}
    assert '<article class="trace"' in page(Report("x", traces=report))
