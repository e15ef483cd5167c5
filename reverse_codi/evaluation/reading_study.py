"""The reading study: which way of reading is sensitive to a thought's claim and not its hard negatives.

For each ReadSpec and site, on held-out traces: match and 64-way retrieval of the gold text, of the
whole chain and of every hard negative. The default is the spec with the largest margin of gold over its best
hard negative, averaged over sites.

Shapes: N traces, F features, d width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.claims import EncodedSteps, claims_text
from reverse_codi.reading.fit import fit_map, retrieval
from reverse_codi.reading.hard_negatives import HARD_NEGATIVES, hard_negatives
from reverse_codi.reading.reader import CachedReader, Reader
from reverse_codi.reasoners.base import Reasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import FRAMED, ReadSpec
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.bootstrap import Interval, explained, interval
from reverse_codi.utils.console import progress


@dataclass(frozen=True)
class StudyRow:
    """One line of the study.

    Attributes:
        spec: how texts were read.
        site: which thought.
        match: text kind -> match.
        retrieval: text kind -> share of thoughts whose own text is the nearest of 64 of that kind.
        best_negative: the hard negative with the highest match.
        margin: match of gold minus match of the best hard negative, paired by problem.
    """

    spec: ReadSpec
    site: Site
    match: Mapping[str, Interval]
    retrieval: Mapping[str, float]
    best_negative: str
    margin: Interval


@dataclass(frozen=True)
class Study:
    """What every ReadSpec is studied on.

    Attributes:
        reasoner: the frozen model.
        sites: hidden states to study.
        encoded: which steps each site holds.
        train: traces that maps are fitted on.
        test: held-out traces with gold claims.
    """

    reasoner: Reasoner
    sites: Sequence[Site]
    encoded: EncodedSteps
    train: TraceStore
    test: TraceStore

    def every(
        self, specs: Sequence[ReadSpec], claims: Sequence[Sequence[str]], framed: float = FRAMED
    ) -> list[StudyRow]:
        """Study each ReadSpec on every site; see `rows`."""
        found: list[StudyRow] = []
        with progress("ways of reading", len(specs)) as advance:
            for spec in specs:
                found += self.rows(spec, claims, framed)
                advance(1)
        return found

    def rows(self, spec: ReadSpec, claims: Sequence[Sequence[str]], framed: float = FRAMED) -> list[StudyRow]:
        """Study one ReadSpec on every site.

        Args:
            spec: how to read.
            claims: of the training traces; gold ones, or those of the model's self-generated CoT.
            framed: share of fitted texts that stand among random words.
        """
        reader = CachedReader(Reader(self.reasoner, spec))  # most hard negatives are the same at every site
        rows = []
        with progress("sites", len(self.sites)) as advance:
            for site in self.sites:
                # Problems with nothing at this site have no gold text to compare with hard negatives.
                use = [i for i, c in enumerate(self.test.claims) if self.encoded.steps(site, len(c))]
                if len(use) >= 64:
                    map_ = fit_map(reader, site, self.encoded, self.train, claims, framed)
                    rows.append(_row(reader, spec, site, map_, self.encoded, self.test, use))
                advance(1)
        return rows


def _row(
    reader: Reader,
    spec: ReadSpec,
    site: Site,
    map_: AffineMap,
    encoded: EncodedSteps,
    test: TraceStore,
    use: list[int],
) -> StudyRow:
    thoughts = test.vectors(site)[use]
    questions = [test.questions[i] for i in use]
    claims = [test.claims[i] for i in use]
    kinds: dict[str, list[str]] = {
        "gold": [encoded.text(site, c) for c in claims],
        "chain": [claims_text(c) for c in claims],
    }
    made = [hard_negatives(q, c, encoded.steps(site, len(c))) for q, c in zip(questions, claims, strict=True)]
    kinds |= {name: [m[name] for m in made] for name in HARD_NEGATIVES}
    to_mean = map_.distance(thoughts, map_.mean).numpy()
    distance, retrieved = {}, {}
    for kind, texts in kinds.items():
        predicted = map_.predict(reader.features(texts, questions))
        distance[kind] = map_.distance(thoughts, predicted).numpy()
        retrieved[kind] = retrieval(map_, thoughts, predicted)
    match = {
        kind: interval(np.stack([d, to_mean], 1), explained, resamples=300) for kind, d in distance.items()
    }
    best = max(HARD_NEGATIVES, key=lambda name: match[name].value)
    margin = interval(np.stack([distance["gold"] - distance[best], to_mean], 1), _margin, resamples=300)
    return StudyRow(spec, site, match, retrieved, best, margin)


def _margin(table: np.ndarray) -> float:
    return float(-table[:, 0].sum() / table[:, 1].sum())


def choose(rows: Sequence[StudyRow]) -> ReadSpec:
    """The spec whose margin of gold over the best hard negative is largest on average; NaN is below all."""
    by_spec: dict[str, list[StudyRow]] = {}
    for row in rows:
        by_spec.setdefault(row.spec.model_dump_json(), []).append(row)

    def margin(group: list[StudyRow]) -> float:
        mean = float(np.mean([row.margin.value for row in group]))
        return mean if math.isfinite(mean) else -math.inf  # `max` would keep a NaN that comes first

    best = max(by_spec.values(), key=margin)
    return best[0].spec
