"""Target texts of the warm start without any label: the reasoner's own sampled solutions.

Every run of claims in a sample is a candidate, read with the chosen ReadSpec, and the nearest to a thought
is its target.
"""

from __future__ import annotations

from collections.abc import Sequence

from reverse_codi.reading.best_of import nearest
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.claims import claims_of, result_of, with_result
from reverse_codi.traces.store import TraceStore


def written_claims(solutions: Sequence[str]) -> list[list[str]]:
    """The claims that the reasoner's own written solutions state, in order; no label is used."""
    return [claims_of(text) for text in solutions]


def with_answer(claims: Sequence[str], answer: str | None) -> list[str]:
    """The claims with the last one's result replaced by the answer that the trace gave.

    Where the thoughts err, the written steps of the same model mostly do not; what the thoughts concluded is
    the one part of their error that shows without labels.

    >>> with_answer(["12 + 5 = 17", "17 * 2 = 34"], "36")
    ['12 + 5 = 17', '17 * 2 = 36']
    """
    if not claims or answer is None:
        return list(claims)
    return [*claims[:-1], with_result(claims[-1], result_of(answer))]


def prefixes(claims: Sequence[str]) -> list[str]:
    """Every run of consecutive claims of one solution, as texts, shortest first.

    A prefix alone could not say "the second step only", which some thoughts hold.
    """
    runs = [(a, b) for a in range(len(claims)) for b in range(a + 1, len(claims) + 1)]
    return [
        " ".join(f"{claim}." for claim in claims[a:b]) for a, b in sorted(runs, key=lambda r: r[1] - r[0])
    ]


def nearest_texts(
    traces: TraceStore,
    site: Site,
    candidates: Sequence[Sequence[str]],
    metric: ThoughtMetric,
    first: Sequence[str] | None = None,
) -> list[str]:
    """For each thought the candidate that reads nearest to it.

    Args:
        traces: N traces.
        site: which thought.
        candidates: N lists of texts, the reasoner's own; none may be empty.
        metric: reads texts and compares.
        first: N first choices, each left for another candidate by a margin only (`reading.best_of`).
    """
    chosen = [None] * len(candidates) if first is None else first
    sites = [site] * len(candidates)
    return nearest(candidates, traces.vectors(site), sites, traces.questions, metric, chosen)
