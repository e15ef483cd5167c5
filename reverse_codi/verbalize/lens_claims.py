"""What lens search says of whole traces, as claims to fit probes and maps on: no label, no CoT mode."""

from __future__ import annotations

import logging
from itertools import takewhile
from pathlib import Path

from reverse_codi.errors import UserError
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.tasks.claims import claims_of
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.kept_claims import kept_claims
from reverse_codi.verbalize.lens_search import lens_search
from reverse_codi.verbalize.thoughts import thought_sites, thoughts_of

log = logging.getLogger(__name__)

FILE = "lens_steps.json"


def lens_claims(reasoner: CodiReasoner, traces: TraceStore, folder: Path) -> list[list[str]]:
    """For each of N traces the steps of its thoughts, first to last, up to the first thought without one.

    Their results are the lens' likeliest words: what was thought, also where it does not follow. A later step
    behind a gap would count as another step than it is, so it is left out. What was found is kept beside the
    traces.

    Args:
        reasoner: whose traces they are.
        traces: N traces.
        folder: their store's folder.

    Raises:
        UserError: no thought of any trace names a step, or the file in the folder is of other traces.
    """

    def find(start: int, end: int) -> list[list[str]]:
        log.info(f"looking for each thought's step by the lens, in {end - start:,} traces")
        return _found(reasoner, traces.select(range(start, end)))

    claims = kept_claims(folder / FILE, "steps", reasoner, traces.questions, find)
    if not any(claims):
        raise UserError(
            f"lens search finds no step in any of {len(traces):,} traces, so nothing can be fitted on it; "
            "use the model's own steps (reading.fit_on: written) or gold ones (gold)"
        )
    return claims


def _found(reasoner: CodiReasoner, traces: TraceStore) -> list[list[str]]:
    """What the lens finds in traces."""
    sites = thought_sites(reasoner.n_thoughts)
    thoughts = thoughts_of(traces, sites, EncodedSteps({}, 1.0))
    texts: dict[int, list[str]] = {row: [] for row in range(len(traces))}
    for row, found in zip(thoughts.problems, lens_search(reasoner, thoughts), strict=True):
        texts[row].append(found.as_said)
    return [
        [claim for named in takewhile(bool, map(claims_of, own)) for claim in named] for own in texts.values()
    ]
