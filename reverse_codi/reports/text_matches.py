"""How well texts fit the thoughts of one trace: each text is read once, and mapped to every thought's site.

Shapes: T texts, F features, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from reverse_codi.reading.claims import stated
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.sites import Site
from reverse_codi.reports.alternatives import Alternative
from reverse_codi.reports.records import MatchMap
from reverse_codi.verbalize.translations.record import Translation

MOST_TEXTS = 24
"""Rows of a heat map: more are not taken in at a glance."""


@dataclass(frozen=True)
class TextMatches:
    """The matches of T texts with the thoughts of one trace.

    Attributes:
        by_site: site -> text -> match.
        predicted: site -> text -> the thought [d] that it predicts there.
    """

    by_site: Mapping[Site, Mapping[str, float]]
    predicted: Mapping[Site, Mapping[str, Tensor]]


def text_matches(
    metric: ThoughtMetric, targets: Mapping[Site, Tensor], texts: Sequence[str], question: str
) -> TextMatches:
    """Read texts and compare each with every thought.

    Args:
        metric: reads and compares.
        targets: the trace's thoughts, each [d], by the site of their map.
        texts: T texts, of which equal ones are read once.
        question: for readings that come after it.
    """
    distinct = list(dict.fromkeys(texts))
    features = metric.reader.features(distinct, [question] * len(distinct))  # [T, F]
    by_site, predicted = {}, {}
    for site, target in targets.items():
        sites = [site] * len(distinct)
        states = metric.apply(features, sites)  # [T, d]
        match = metric.match(target.expand_as(states), states, sites).tolist()
        by_site[site] = dict(zip(distinct, match, strict=True))
        predicted[site] = dict(zip(distinct, states, strict=True))
    return TextMatches(by_site, predicted)


def match_map(
    rows: Sequence[Translation],
    options: Sequence[Sequence[Alternative]],
    matches: Mapping[Site, Mapping[str, float]],
    most: int = MOST_TEXTS,
) -> MatchMap:
    """The heat map of a trace: translations in the order of its thoughts, then alternatives by their count.

    Alternatives without a claim are no rows of it.

    Args:
        rows: translations, one a site of `matches`, in its order.
        options: what was sampled of each thought.
        matches: site -> text -> match.
        most: texts that are shown.
    """
    texts: dict[object, str] = {}
    for row in rows:
        texts.setdefault(stated(row.translation), row.translation)
    others = [each for own in options for each in own if each.claims]
    others.sort(key=lambda each: -each.count)
    for each in others:
        texts.setdefault(stated(each.text), each.text)
    shown = list(texts.items())[: max(most, len(rows))]
    return MatchMap(
        [row.site for row in rows],
        [text for _, text in shown],
        [[of_site[text] for of_site in matches.values()] for _, text in shown],
        [[stated(row.translation) == of for row in rows] for of, _ in shown],
        len(texts) - len(shown),
    )
