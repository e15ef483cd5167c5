"""What lens search says of whole traces, as claims to fit probes and maps on: no label, no CoT mode."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.tasks.claims import claims_of
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.config import UserError
from reverse_codi.verbalize.lens_search import lens_search
from reverse_codi.verbalize.thoughts import thought_sites, thoughts_of


@dataclass(frozen=True)
class LensClaims:
    """What lens search says of N traces.

    Attributes:
        claims: N lists of claims, first to last.
        sure: of each claim whether it is the only one that fits, see `lens_search.Found.sure`.
    """

    claims: list[list[str]]
    sure: list[list[bool]]


def lens_claims(reasoner: CodiReasoner, traces: TraceStore) -> LensClaims:
    """For each of N traces the steps of its thoughts, first to last, up to the first thought without one.

    Their results are the lens' likeliest words: what was thought, also where it does not follow. A later step
    behind a gap would count as another step than it is, so it is left out.

    Args:
        reasoner: whose traces they are.
        traces: N traces.

    Raises:
        UserError: no thought of any trace names a step.
    """
    sites = thought_sites(reasoner.n_thoughts)
    thoughts = thoughts_of(traces, sites, EncodedSteps({}, 1.0))
    found: dict[int, list[tuple[list[str], bool]]] = {row: [] for row in range(len(traces))}
    for row, step in zip(thoughts.problems, lens_search(reasoner, thoughts), strict=True):
        found[row].append((claims_of(step.as_said), step.sure))
    steps = [list(takewhile(lambda step: step[0], own)) for own in found.values()]
    if not any(steps):
        raise UserError(
            f"lens search finds no step in any of {len(traces):,} traces, so nothing can be fitted on it; "
            "use the model's own steps (reading.fit_on: written) or gold ones (gold)"
        )
    return LensClaims(
        claims=[[claim for named, _ in own for claim in named] for own in steps],
        sure=[[sure for named, sure in own for _ in named] for own in steps],
    )
