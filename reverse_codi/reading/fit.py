"""Fit the maps from the states of texts to thoughts, one for each site.

Shapes: N traces, F features, d width.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.basis import SAMPLE, FeatureBasis, rank_within
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reader import Reader
from reverse_codi.reading.wording import worded
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import FRAMED, MEMORY_GIB, Map
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.console import progress

log = logging.getLogger(__name__)


def fit_map(
    reader: Reader,
    site: Site,
    encoded: EncodedSteps,
    train: TraceStore,
    train_claims: Sequence[Sequence[str]],
    framed: float = FRAMED,
) -> AffineMap:
    """Fit one site's map on the gold texts of its thoughts; "(no step)" where a thought encodes nothing."""
    texts = map_texts(site, encoded, train, train_claims, framed)
    active = torch.tensor([encoded.holds(site, len(claims)) for claims in train_claims])
    features, thoughts = reader.features(texts, train.questions), train.vectors(site)
    if reader.spec.map is Map.IDENTITY:
        return AffineMap.identity(features, thoughts, active)
    return AffineMap.fit(features, thoughts, reader.spec.ridge, active, reader.basis is not None)


def map_texts(
    site: Site,
    encoded: EncodedSteps,
    train: TraceStore,
    train_claims: Sequence[Sequence[str]],
    framed: float,
) -> list[str]:
    """The texts that a site's map is fitted on, one for each trace."""
    return worded([encoded.text(site, claims) for claims in train_claims], train.questions, framed)


def fit_metric(
    reader: Reader,
    sites: Sequence[Site],
    encoded: EncodedSteps,
    train: TraceStore,
    train_claims: Sequence[Sequence[str]],
    framed: float = FRAMED,
    memory_gib: float = MEMORY_GIB,
) -> ThoughtMetric:
    """Fit the maps of all sites on training traces; they are frozen from here on.

    Args:
        reader: reads texts.
        sites: the sites, one map each.
        encoded: which claims the text of a site states.
        train: N traces.
        train_claims: their N lists of claims.
        framed: share of texts that are put among random words, see `reading.wording`.
        memory_gib: what fitting may hold; where states are too wide for it, they are projected on a basis.
    """
    texts = {site: map_texts(site, encoded, train, train_claims, framed) for site in sites}
    reader = within_memory(reader, texts, train.questions, memory_gib * 2**30)
    maps, began = {}, time.perf_counter()
    with progress("maps", len(sites)) as advance:
        for site in sites:
            maps[site] = fit_map(reader, site, encoded, train, train_claims, framed)
            advance(1)
    each = (time.perf_counter() - began) / max(1, len(sites))
    log.info(f"{len(sites)} maps on {len(train):,} texts: {each:.1f} s each, with reading them")
    return ThoughtMetric(reader, maps)


def within_memory(
    reader: Reader, texts: Mapping[Site, Sequence[str]], questions: Sequence[str], memory: float
) -> Reader:
    """The reader, with a basis where a map on whole states would take more than `memory` bytes.

    Args:
        reader: reads texts.
        texts: of each site, N that its map is fitted on; the basis is computed from a sample of all.
        questions: N questions.
        memory: in bytes.
    """
    if reader.spec.map is Map.IDENTITY:
        return reader
    width, n = reader.reasoner.width, len(questions)
    n_blocks = reader.features(next(iter(texts.values()))[:1], questions[:1]).shape[1] // width
    rank = rank_within(n, n_blocks, width, memory)
    if rank is None:
        return reader
    drawn = min(SAMPLE, int(memory / 16 / (n_blocks * width)), len(texts) * n)
    chosen = random.Random(0).sample([(site, row) for site in texts for row in range(n)], drawn)
    states = reader.features(
        [texts[site][row] for site, row in chosen], [questions[row] for _, row in chosen]
    )
    log.info(
        f"states of {n_blocks * width:,} features are projected on {n_blocks * rank:,} (reading.memory_gib)"
    )
    basis = FeatureBasis.fit(states.unflatten(1, (n_blocks, width)), rank)
    return Reader(reader.reasoner, reader.spec, basis)


def retrieval(map_: AffineMap, thoughts: Tensor, predicted: Tensor, among: int = 64) -> float:
    """Share of thoughts [N, d] whose own text's prediction [N, d] is the nearest of `among`.

    Rows are compared in blocks. Texts with exactly the same prediction count as wrong, so that a constant
    text retrieves nothing.
    """
    hits = 0
    blocks = [b for b in torch.arange(len(thoughts)).split(among) if len(b) == among]
    for block in blocks:
        distance = map_.distance(thoughts[block, None], predicted[None, block])  # [thoughts, texts]
        own = distance.diagonal().clone()
        distance.fill_diagonal_(float("inf"))
        hits += int((own < distance.min(1).values).sum())
    return hits / max(1, among * len(blocks))
