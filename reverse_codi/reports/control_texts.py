"""The controls of each thought: texts that know less of it than its translation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch

from reverse_codi.reading.claims import NO_STEP, stated
from reverse_codi.reading.hard_negatives import CONSTANT
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.reports.records import Control
from reverse_codi.tasks.claims import parse_belongings
from reverse_codi.tasks.numbers import whole_number
from reverse_codi.verbalize.lens_search import lens_search
from reverse_codi.verbalize.thoughts import Thoughts
from reverse_codi.verbalize.translations.given import Given
from reverse_codi.verbalize.translations.record import Translation

Texts = dict[Control, str]


def control_texts(
    traces: Sequence[Sequence[Translation]],
    references: Mapping[Site, Sequence[str]],
    searched: Sequence[Sequence[str]],
) -> list[list[Texts]]:
    """The text of each control for every thought of every trace.

    `Control.OTHER` is missing where no other thought of the site gets another text.

    Args:
        traces: translations, trace by trace.
        references: what the verbalizer says of training thoughts, by site.
        searched: what lens search says of every thought; empty lists where it says nothing (`lens_steps`).
    """
    constant = _constant(references)
    by_site: dict[str, list[str]] = {str(site): list(texts) for site, texts in references.items()}
    own = {str(site) for site in references}
    for rows in traces:
        for row in rows:
            if row.site not in own:  # whole traces have no references: the others are those of this report
                by_site.setdefault(row.site, []).append(row.translation)
    return [
        [
            _of_thought(row, by_site.get(row.site, []), n, constant)
            | ({Control.SEARCH: searched[n][place]} if searched[n] else {})
            for place, row in enumerate(rows)
        ]
        for n, rows in enumerate(traces)
    ]


def lens_steps(reasoner: CodiReasoner, given: Given) -> list[list[str]]:
    """What lens search says of every thought of N traces; empty lists where no single thoughts are given."""
    sites = list(given.slots)
    if not all(site.kind == "h" and site.layer is None for site in sites):
        return [[] for _ in given.questions]
    pairs = [(row, site) for row in range(len(given)) for site in sites]
    asked = [given.questions[row] or "" for row, _ in pairs]
    thoughts = Thoughts(
        torch.stack([given.slots[site][row] for row, site in pairs]),
        torch.stack([given.targets[site][row] for row, site in pairs]),
        [site for _, site in pairs],
        [row for row, _ in pairs],
        asked,
        [NO_STEP] * len(pairs),
        [[] for _ in pairs],
        [None] * len(pairs),
    )
    found = iter(lens_search(reasoner, thoughts))
    return [[next(found).text for _ in sites] for _ in given.questions]


def _of_thought(row: Translation, others: Sequence[str], turn: int, constant: str) -> Texts:
    texts = {Control.CONSTANT: constant, Control.EMPTY: ""}
    if row.lens is not None:
        texts[Control.LENS] = f"{row.lens[0]}." if whole_number(row.lens[0]) is not None else NO_STEP
    turned = [others[(turn + i) % len(others)] for i in range(len(others))]
    other = next((text for text in turned if stated(text) != stated(row.translation)), None)
    if other is not None:
        texts[Control.OTHER] = other
    return texts


def _constant(references: Mapping[Site, Sequence[str]]) -> str:
    """A sum, or where thoughts hold sentences the commonest of them; as the evaluation's control."""
    sentences = Counter(text for texts in references.values() for text in texts if parse_belongings(text))
    return sentences.most_common(1)[0][0] if sentences else CONSTANT
