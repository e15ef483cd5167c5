"""Fit the maps from the states of texts to thoughts, one for each site.

Shapes: N traces, F features, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reader import Reader
from reverse_codi.reading.wording import worded
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import FRAMED, Map
from reverse_codi.traces.store import TraceStore


def fit_map(
    reader: Reader,
    site: Site,
    encoded: EncodedSteps,
    train: TraceStore,
    train_claims: Sequence[Sequence[str]],
    framed: float = FRAMED,
) -> AffineMap:
    """Fit one site's map on the gold texts of its thoughts; "(no step)" where a thought encodes nothing."""
    texts = worded([encoded.text(site, claims) for claims in train_claims], train.questions, framed)
    active = torch.tensor([bool(encoded.steps(site, len(claims))) for claims in train_claims])
    features, thoughts = reader.features(texts, train.questions), train.vectors(site)
    if reader.spec.map is Map.IDENTITY:
        return AffineMap.identity(features, thoughts, active)
    return AffineMap.fit(features, thoughts, reader.spec.ridge, active)


def fit_metric(
    reader: Reader,
    sites: Sequence[Site],
    encoded: EncodedSteps,
    train: TraceStore,
    train_claims: Sequence[Sequence[str]],
    framed: float = FRAMED,
) -> ThoughtMetric:
    """Fit the maps of all sites on training traces; they are frozen from here on.

    Args:
        reader: reads texts.
        sites: the sites, one map each.
        encoded: which claims the text of a site states.
        train: N traces.
        train_claims: their N lists of claims.
        framed: share of texts that are put among random words, see `reading.wording`.
    """
    return ThoughtMetric(
        reader, {site: fit_map(reader, site, encoded, train, train_claims, framed) for site in sites}
    )


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
