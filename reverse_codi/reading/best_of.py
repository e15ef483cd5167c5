"""The best of several texts for one thought, chosen by how near they read to it.

Nearness is a proxy, and the more texts are tried, the more of them are near by accident. Texts without a
claim come nearest to thoughts that hold nothing, and a claim that is wrong by one may read a little nearer
than the right one. So a candidate must make a claim or be "(no step)", and it replaces the first choice only
if it leads by a margin (docs/evaluation.md has the measurement).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from reverse_codi.reading.claims import claimed
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.sites import Site

MARGIN = 0.05
"""By how much another text's match must exceed that of the first choice."""


def candidates(texts: Sequence[str]) -> list[str]:
    """One text for each distinct content, the first choice in its own words.

    Of several texts with the same claims the shortest is kept. The list is empty if no text makes a claim or
    is "(no step)".

    Args:
        texts: the first choice and others.

    >>> candidates(["12 + 5 = 17.", "12+5=17", "28 no)))", "( no step )", "9 + 9 = 18. no", "9 + 9 = 18."])
    ['12 + 5 = 17.', '( no step )', '9 + 9 = 18.']
    """
    found: dict[tuple[str, ...], str] = {}
    for text in texts:
        claims = claimed(text)
        if claims is None:
            continue
        known = found.get(claims)
        if known is None or (known != texts[0] and len(text) < len(known)):
            found[claims] = text
    return list(found.values())


def best_of(texts: Sequence[str], match: Sequence[float], first: str | None, margin: float = MARGIN) -> str:
    """The text that matches best, if it exceeds the first choice by more than the margin.

    Args:
        texts: candidates of one thought, see `candidates`.
        match: match of each candidate with the thought.
        first: the first choice; if it is None or no candidate, the best candidate wins.
        margin: see `MARGIN`.
    """
    best = max(range(len(texts)), key=match.__getitem__)
    if first is not None and first in texts and not match[best] > match[texts.index(first)] + margin:
        return first
    return texts[best]


def nearest(
    texts: Sequence[Sequence[str]],
    targets: Tensor,
    sites: Sequence[Site],
    questions: Sequence[str],
    metric: ThoughtMetric,
    first: Sequence[str | None],
    margin: float = MARGIN,
) -> list[str]:
    """For each of N thoughts the best of its texts by `best_of`; where it has none, its first choice.

    Args:
        texts: N lists of candidates.
        targets: [N, d] what the texts are compared with.
        sites: N sites.
        questions: N questions.
        metric: reads texts and compares.
        first: N first choices, see `best_of`; None where there is none.
        margin: see `MARGIN`.

    Raises:
        ValueError: a thought has neither a candidate nor a first choice.
    """
    chosen = []
    matched = matches(texts, targets, sites, questions, metric)
    for row, (own, match, text) in enumerate(zip(texts, matched, first, strict=True)):
        if not own and text is None:
            raise ValueError(f"thought {row} has no text to choose from; give a candidate or a first choice")
        chosen.append(best_of(own, match, text, margin) if own else str(text))
    return chosen


def matches(
    texts: Sequence[Sequence[str]],
    targets: Tensor,
    sites: Sequence[Site],
    questions: Sequence[str],
    metric: ThoughtMetric,
) -> list[list[float]]:
    """The match of each of N thoughts with each of its texts, all read at once; arguments as of `nearest`."""
    flat = [text for own in texts for text in own]
    if not flat:
        return [[] for _ in texts]
    owner = [row for row, own in enumerate(texts) for _ in own]
    at = [sites[row] for row in owner]
    predicted = metric.predict(flat, at, [questions[row] for row in owner])
    match = iter(metric.match(targets[owner], predicted, at).tolist())
    return [[next(match) for _ in own] for own in texts]
