"""Figures of all traces of a report together, each with its interval by trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from reverse_codi.reading.interventions.replace import Replacement
from reverse_codi.reports.records import REPLACEMENTS, Control, ThoughtCard, TraceCard
from reverse_codi.utils import figures
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.figures import NOTHING
from reverse_codi.verbalize.scores import CLIP

EDIT = "edit"


def summary(traces: Sequence[TraceCard]) -> Mapping[str, Interval]:
    """The figures by key; of nothing that could be counted NaN over 0 traces.

    `trusted`: share of thoughts. `right`: share of traces with a gold answer. `match` and `match.CONTROL`:
    mean over thoughts, each cut at -2. `agreement`: share of samples that say what the greedy text says.
    `kept.KIND`: share of answers that stay when one thought is replaced. `edit`: share of edited translations
    whose implied answer the model gives.
    """
    found = {
        "trusted": _share(traces, lambda card: None if card.row.trusted is None else [card.row.trusted]),
        "match": _mean(traces, lambda card: card.row.match),
    }
    for kind in Control:
        found[f"match.{kind}"] = _mean(traces, partial(_control, kind))
    found["agreement"] = _mean(traces, lambda card: next((o.share for o in card.options if o.greedy), None))
    for replacement in REPLACEMENTS:
        found[f"kept.{replacement}"] = _share(traces, partial(_kept, replacement))
    found[EDIT] = _share(traces, lambda card: [effect.met for effect in card.effects if effect.kind is None])
    judged = [(row, trace.right) for row, trace in enumerate(traces) if trace.right is not None]
    found["right"] = (
        figures.share([float(right) for _, right in judged], [row for row, _ in judged])
        if judged
        else NOTHING
    )
    return found


def _control(kind: Control, card: ThoughtCard) -> float | None:
    return next((control.match for control in card.controls if control.kind is kind), None)


def _kept(kind: Replacement, card: ThoughtCard) -> list[bool]:
    """Whether the answer stays; nothing where the model states none of its own."""
    return [each.met for each in card.effects if each.kind is kind and each.expected is not None]


def _share(traces: Sequence[TraceCard], flags: Callable[[ThoughtCard], Sequence[bool] | None]) -> Interval:
    values, rows = [], []
    for row, trace in enumerate(traces):
        for card in trace.thoughts:
            for flag in flags(card) or ():
                values.append(float(flag))
                rows.append(row)
    return figures.share(values, rows) if values else NOTHING


def _mean(traces: Sequence[TraceCard], value: Callable[[ThoughtCard], float | None]) -> Interval:
    found = [
        (row, max(CLIP, own))
        for row, trace in enumerate(traces)
        for card in trace.thoughts
        if (own := value(card)) is not None
    ]
    return figures.mean([own for _, own in found], [row for row, _ in found]) if found else NOTHING
