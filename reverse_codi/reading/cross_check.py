"""Probes checked by the reading: do the maps find a thought's own text where probes read a step?

Probes go from thoughts to labels, maps from texts to thoughts. A site where probes read a step and the map
finds no own text would be trained on texts that no reward can judge.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reverse_codi.reading.claims import NO_STEP, EncodedSteps
from reverse_codi.reading.fit import retrieval
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.sites import Site
from reverse_codi.traces.store import TraceStore

log = logging.getLogger(__name__)

# Texts among which a thought's own must be the nearest, and held-out thoughts of a site that are read.
AMONG, MOST = 64, 512


@dataclass(frozen=True)
class SiteCheck:
    """How often one site's map finds the gold text of a held-out thought among others.

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


def distinct(texts: Iterable[str]) -> list[int]:
    """One row of each text that states something: of thoughts with the same text none is nearest to it."""
    return list({text: row for row, text in enumerate(texts) if text != NO_STEP}.values())


def site_check(
    metric: ThoughtMetric, site: Site, heldout: TraceStore, texts: Sequence[str], rows: Sequence[int]
) -> SiteCheck:
    """Check one site.

    Args:
        metric: reader and maps.
        site: one that has a map.
        heldout: N traces.
        texts: N texts of their thoughts at the site.
        rows: those to check.
    """
    thoughts, map_ = heldout.vectors(site)[rows], metric.map_of(site)
    questions = heldout.questions
    predicted = metric.predict([texts[r] for r in rows], [site] * len(rows), [questions[r] for r in rows])
    match = float(map_.match(thoughts, predicted).mean())
    return SiteCheck(site, len(rows), retrieval(map_, thoughts, predicted, AMONG), match)


def cross_check(metric: ThoughtMetric, encoded: EncodedSteps, heldout: TraceStore) -> list[SiteCheck]:
    """Check every site that encodes something in at least 64 held-out traces with different texts."""
    found, claims = [], heldout.claims
    for site in metric.sites:
        texts = [encoded.text(site, of) for of in claims]
        rows = distinct(texts)[:MOST]
        if len(rows) >= AMONG:
            found.append(site_check(metric, site, heldout, texts, rows))
    return found


def report(checks: list[SiteCheck]) -> None:
    """Log each check, and warn of a site whose map finds no own text."""
    for check in checks:
        log.info(str(check))
        if check.match <= 0 or check.retrieval < 2 / AMONG:
            log.warning(
                f"{check.site}: probes read a step there, but its map finds no thought's own text, so no "
                "reward can judge its texts; raise trace.n, set reading.spec.ridge: auto, or see "
                "`reverse-codi planted`"
            )
