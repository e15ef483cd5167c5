"""Where thoughts lie, and where their texts put them: two principal components.

The axes come from the thoughts and from training thoughts of the same sites, so that few traces do not decide
them. What a text predicts is placed on these axes.

Shapes: M vectors, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reverse_codi.reasoners.sites import Site
from reverse_codi.reports.records import Point, PointKind, ThoughtMap

# Of the randomized decomposition: two are shown, the others make them exact (Halko et al., arXiv 0909.4061).
COMPONENTS, ITERATIONS, SEED = 8, 6, 0


@dataclass(frozen=True)
class Placed:
    """A vector that is to be shown.

    Attributes:
        kind: what it is.
        site: its site.
        vector: [d].
        trace: index of its trace, None for a reference.
        text: the translation, "" for a reference.
    """

    kind: PointKind
    site: Site
    vector: Tensor
    trace: int | None = None
    text: str = ""


def thought_map(vectors: Sequence[Placed]) -> ThoughtMap | None:
    """Place vectors on the first two principal components of those that are no texts.

    Returns:
        The map; None where fewer than three vectors, or vectors that do not differ, make no axes.
    """
    own = [placed.vector for placed in vectors if placed.kind is not PointKind.TEXT]
    if len(own) < 3:
        return None
    fitted = torch.stack(own)  # [M, d]
    centre = fitted.mean(0)
    variance = (fitted - centre).square().sum()
    if not variance > 0:
        return None
    axes, values = _axes(fitted - centre)
    places = (torch.stack([placed.vector for placed in vectors]) - centre) @ axes  # [M, 2]
    points = [
        Point(placed.kind, str(placed.site), x, y, placed.trace, placed.text)
        for placed, (x, y) in zip(vectors, places.tolist(), strict=True)
    ]
    first, second = (values.square() / variance).tolist()
    return ThoughtMap(points, (first, second))


def _axes(centred: Tensor) -> tuple[Tensor, Tensor]:
    """The axes [d, 2] and singular values [2]; each axis points to where its largest entry is positive."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        _, values, axes = torch.pca_lowrank(
            centred, min(COMPONENTS, *centred.shape), center=False, niter=ITERATIONS
        )
    axes = axes[:, :2]
    signs = axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    return axes * signs, values[:2]
