"""Probes checked by the reading: do the maps tell a thought's own text from others, where probes read a step?

Probes go from thoughts to labels, maps from texts to thoughts. A site where probes read a step and the map
tells nothing apart would be trained on texts that no reward can judge.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.fit import retrieval
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.sites import Site
from reverse_codi.traces.store import TraceStore

log = logging.getLogger(__name__)

# Texts among which a thought's own must be the nearest, and held-out thoughts of a site that are read.
AMONG, MOST = 64, 512


@dataclass(frozen=True)
class SiteCheck:
    """How well one site's map tells held-out thoughts apart by their gold texts.

    Attributes:
        site: the site.
        n: number of thoughts, each with another text.
        retrieval: share of them whose own text is the nearest of 64; chance is .016.
        match: mean match of their own texts.
    """

    site: Site
    n: int
    retrieval: float
    match: float

    def __str__(self) -> str:
        """A line for the user."""
        return (
            f"{self.site}: the own text of {self.n} held-out thoughts is the nearest of {AMONG} for "
            f"{self.retrieval:.2f}, and matches by {self.match:.2f}"
        )


def cross_check(metric: ThoughtMetric, encoded: EncodedSteps, heldout: TraceStore) -> list[SiteCheck]:
    """Check every site that encodes something in at least 64 held-out traces with different texts."""
    found = []
    for site in metric.sites:
        claims = heldout.claims
        holding = (row for row, of in enumerate(claims) if encoded.holds(site, len(of)))
        # Each text once: none of two thoughts with one text could be nearer to it.
        rows = list({encoded.text(site, claims[row]): row for row in holding}.values())[:MOST]
        if len(rows) < AMONG:
            continue
        texts, questions = zip(
            *((encoded.text(site, claims[r]), heldout.questions[r]) for r in rows), strict=True
        )
        thoughts = heldout.vectors(site)[rows]
        predicted = metric.predict(texts, [site] * len(rows), questions)
        map_ = metric.map_of(site)
        match = float(map_.match(thoughts, predicted).mean())
        found.append(SiteCheck(site, len(rows), retrieval(map_, thoughts, predicted, AMONG), match))
    return found


def report(checks: list[SiteCheck]) -> None:
    """Log each check, and warn of a site whose map tells nothing apart."""
    for check in checks:
        log.info(str(check))
        if check.match <= 0 or check.retrieval < 2 / AMONG:
            log.warning(
                f"{check.site}: probes read a step there and its map tells no thought from another, so no "
                "reward can judge its texts; raise trace.n, set reading.spec.ridge: auto, or see "
                "`reverse-codi planted`"
            )
