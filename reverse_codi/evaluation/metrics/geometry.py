"""How near predicted thoughts lie to true ones, in the model's own coordinates.

Shapes: N thoughts, d width, S sites, P problems. `means` [N, d] is each row's own site mean over training
traces.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from reverse_codi.reasoners.sites import Site
from reverse_codi.utils.bootstrap import Floats


def centred_cosine(thoughts: Tensor, predicted: Tensor, means: Tensor) -> Tensor:
    """Cosine [N] of thoughts and predictions [N, d] after the site's mean is subtracted from both.

    A prediction equal to the mean gets 0.
    """
    return torch.cosine_similarity(thoughts - means, predicted - means, dim=-1)


def squared_errors(thoughts: Tensor, predicted: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error [N] of the predictions, and squared distance [N] of the thoughts to their site's mean.

    They are the two columns of the fraction of variance explained (FVE), 1 - sum / sum within a site. The
    denominator is never the distance to one mean of all sites. Sites differ far more from one another than
    the thoughts of one site do, so one constant text for each site would win most of that variance.
    """
    return (thoughts - predicted).square().sum(-1), (thoughts - means).square().sum(-1)


def site_table(errors: Tensor, totals: Tensor, sites: Sequence[Site], problems: Sequence[int]) -> Floats:
    """Sums by problem and site, [P, 2 S]: S columns of errors, then S of totals; sites as they first occur.

    What `bootstrap.interval` resamples to give `mean_fve` its interval. A site that few problems have can be
    missing from a resample, and the interval is then NaN.
    """
    order = {site: i for i, site in enumerate(dict.fromkeys(sites))}
    numbers, row = np.unique(np.asarray(problems), return_inverse=True)
    place = row * len(order) + np.array([order[site] for site in sites])
    size = len(numbers) * len(order)
    sums = [
        np.bincount(place, weights=values.double().numpy(), minlength=size) for values in (errors, totals)
    ]
    return np.concatenate([s.reshape(len(numbers), len(order)) for s in sums], axis=1)


def mean_fve(table: Floats) -> float:
    """Mean over sites of their FVE, from a `site_table` [P, 2 S] or a resample of its rows."""
    return float(_fves(table).mean())


def _fves(table: Floats) -> Floats:
    errors, totals = np.split(table.sum(0), 2)
    return 1 - errors / totals
