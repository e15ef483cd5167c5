"""From a verbalizer and traces to what a report shows of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.recipe.schema import Recipe, recipe_beside
from reverse_codi.reports.alternatives import Alternative, alternatives
from reverse_codi.reports.control_texts import Texts, control_texts, lens_steps
from reverse_codi.reports.effects import Model, effects
from reverse_codi.reports.records import (
    Asked,
    Control,
    ControlText,
    Effect,
    Option,
    PointKind,
    ThoughtCard,
    TraceCard,
    TraceReport,
)
from reverse_codi.reports.summary import summary
from reverse_codi.reports.text_matches import TextMatches, match_map, text_matches
from reverse_codi.reports.thought_map import Placed, thought_map
from reverse_codi.tasks.answers import answer_of
from reverse_codi.tasks.base import Task
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.config import validated
from reverse_codi.verbalize.translations.chain import chain_text
from reverse_codi.verbalize.translations.given import Given, map_site, stored
from reverse_codi.verbalize.translations.record import Translation
from reverse_codi.verbalize.verbalizer import Verbalizer

CHUNK = 8
"""Traces whose vectors, texts and chains are held in memory at once."""
REFERENCES = 64
"""Training thoughts of each site that the map shows."""


@dataclass(frozen=True)
class Rows:
    """Traces to report.

    Attributes:
        given: their thoughts.
        gold: the gold answer of each, None where unknown.
    """

    given: Given
    gold: Sequence[str | None]

    @staticmethod
    def of_questions(verbalizer: Verbalizer, questions: Sequence[str]) -> Rows:
        """What the reasoner thinks about questions now."""
        return Rows(verbalizer.thoughts_about(questions), [None] * len(questions))

    @staticmethod
    def of_store(verbalizer: Verbalizer, store: TraceStore, name: str, most: int) -> Rows:
        """The first `most` traces of a store as they lie there."""
        first = store.select(range(min(most, len(store))))
        return Rows(stored(first, name, verbalizer.reasoner, verbalizer.metric), first.gold)


def task_of(verbalizer: Verbalizer) -> Task:
    """The task of the run that made a verbalizer: it knows an answer when it sees one."""
    folder: Path = verbalizer.translator.folder
    return validated(Recipe, recipe_beside(folder), str(folder)).task.build()


def asked(verbalizer: Verbalizer, traces: int, samples: int, replace: bool) -> Asked:
    """What a report of so many traces will do at most."""
    single = ANSWER not in verbalizer.metric.sites
    thoughts = len(verbalizer.metric.sites)
    return Asked(traces, thoughts, samples, replace and single)


def trace_report(
    verbalizer: Verbalizer,
    task: Task,
    rows: Sequence[Rows],
    samples: int = 16,
    replace: bool = True,
    given: int | None = None,
    progress: Callable[[int], None] = lambda n: None,
    seed: int = 0,
) -> TraceReport:
    """Compute everything that a report holds of traces.

    Args:
        verbalizer: translates and reads.
        task: finds answers in what the model writes.
        rows: the traces.
        samples: texts sampled a thought beside the greedy one.
        replace: whether thoughts are replaced; those of a verbalizer of whole traces never are.
        given: how many traces there were before some were left out; as many as `rows` has if None.
        progress: called with the number of traces done since the last call.
        seed: of sampling.
    """
    began = time.perf_counter()
    total = sum(len(each.given) for each in rows)
    plan = asked(verbalizer, total, samples, replace)
    cards: list[TraceCard] = []
    placed: list[Placed] = []
    for each in rows:
        for start in range(0, len(each.given), CHUNK):
            part = range(start, min(start + CHUNK, len(each.given)))
            chunk = Rows(each.given.take(part), [each.gold[row] for row in part])
            made, of_map = _cards(
                verbalizer, task, chunk, plan, seed + len(cards) * plan.thoughts, len(cards)
            )
            cards += made
            placed += of_map
            progress(len(part))
    sites = {placed_at.site for placed_at in placed}
    references = [
        Placed(PointKind.REFERENCE, site, vector)
        for site in sorted(sites)
        for vector in verbalizer.metric.map_of(map_site(site)).reference[:REFERENCES]
    ]
    return TraceReport(
        cards,
        total if given is None else given,
        plan,
        thought_map([*references, *placed]),
        summary(cards),
        time.perf_counter() - began,
    )


def _cards(
    verbalizer: Verbalizer, task: Task, chunk: Rows, plan: Asked, seed: int, first: int
) -> tuple[list[TraceCard], list[Placed]]:
    """The cards of some traces, of which the first is number `first` of the report, and their vectors."""
    given, metric = chunk.given, verbalizer.metric
    traces = verbalizer.translate_given(given).traces
    options = _sampled(verbalizer, given, traces, plan.samples, seed)
    controls = control_texts(traces, verbalizer.references, lens_steps(verbalizer.reasoner, given))
    questions = [question or "" for question in given.questions]
    changed: list[list[list[Effect]]] = [[[] for _ in rows] for rows in traces]
    if plan.effects:
        changed = effects(Model(verbalizer.reasoner, metric, task), questions, traces, controls)
    sites = list(given.slots)
    cards, placed = [], []
    for n, rows in enumerate(traces):
        targets = {map_site(site): given.targets[site][n] for site in sites}
        texts = [
            *(row.translation for row in rows),
            *(each.text for own in options[n] for each in own),
            *(text for own in controls[n] for text in own.values()),
        ]
        matches = text_matches(metric, targets, texts, questions[n])
        placed += _placed(rows, sites, targets, matches, first + n)
        thoughts = [
            _thought(row, map_site(site), options[n][k], controls[n][k], changed[n][k], matches, plan.samples)
            for k, (site, row) in enumerate(zip(sites, rows, strict=True))
        ]
        output = given.answers[n] or ""
        answer = answer_of(verbalizer.reasoner, task, output) or output or None
        heat = match_map(rows, options[n], matches.by_site)
        cards.append(
            TraceCard(
                questions[n],
                given.sources[n],
                output,
                answer,
                chunk.gold[n],
                chain_text(rows),
                thoughts,
                heat,
            )
        )
    return cards, placed


def _placed(
    rows: Sequence[Translation],
    sites: Sequence[Site],
    targets: Mapping[Site, Tensor],
    matches: TextMatches,
    trace: int,
) -> list[Placed]:
    """A trace's thoughts, and what their translations predict, for the map."""
    found = []
    for site, row in zip(sites, rows, strict=True):
        of, text = map_site(site), row.translation
        found.append(Placed(PointKind.THOUGHT, site, targets[of], trace, text))
        found.append(Placed(PointKind.TEXT, site, matches.predicted[of][text], trace, text))
    return found


def _sampled(
    verbalizer: Verbalizer,
    given: Given,
    traces: Sequence[Sequence[Translation]],
    samples: int,
    seed: int,
) -> list[list[list[Alternative]]]:
    """For every thought of every trace what its samples say."""
    found: list[list[list[Alternative]]] = [[] for _ in traces]
    for place, slots in enumerate(given.slots.values()):
        # Another seed for each site: equal draws would look like agreement of the thoughts.
        drawn = verbalizer.translator.sampled(slots, samples, seed + place) if samples else [[]] * len(traces)
        for n, rows in enumerate(traces):
            found[n].append(alternatives(rows[place].translation, drawn[n]))
    return found


def _thought(
    row: Translation,
    site: Site,
    options: Sequence[Alternative],
    controls: Texts,
    changed: Sequence[Effect],
    matches: TextMatches,
    samples: int,
) -> ThoughtCard:
    match = matches.by_site[site]
    known = [ControlText(kind, text, match[text]) for kind, text in controls.items()]
    return ThoughtCard(
        row,
        [
            Option(
                each.text,
                each.count,
                each.count / samples if samples else None,
                match[each.text],
                each.greedy,
                each.claims,
            )
            for each in options
        ],
        sorted(known, key=lambda control: (-control.match, list(Control).index(control.kind))),
        changed,
    )
