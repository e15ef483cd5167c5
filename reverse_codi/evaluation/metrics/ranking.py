"""Retrieval: where the own text ranks among others.

Shapes: N thoughts, M texts for each, of which column 0 is the own one.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(distances: Tensor) -> Tensor:
    """Rank [N] of the own text by distance [N, M]: 1 + the number of others that are at least as near.

    Ties count against the own text, so a constant text retrieves nothing. Another text at inf is absent. An
    own text at inf was not read and ranks last.

    Raises:
        ValueError: a distance is NaN, which would compare as farther than all and rank the own text first.
    """
    if distances.isnan().any():
        rows = distances.isnan().any(1).nonzero().flatten().tolist()
        raise ValueError(f"distances of rows {rows[:8]} are NaN; fix the reading before ranking")
    return 1 + (distances[:, 1:] <= distances[:, :1]).sum(1)


def top1(ranks: Tensor) -> Tensor:
    """1 where the own text ranks first, else 0, [N]."""
    return (ranks == 1).to(torch.float64)


def reciprocal(ranks: Tensor) -> Tensor:
    """1 / rank [N]; its mean is the mean reciprocal rank."""
    return 1 / ranks.to(torch.float64)
