"""A low-rank basis of read states, for models whose states are too wide to fit a map on.

The states of a text are blocks: one for each layer at each point of the ReadSpec. Each block is standardized
and projected on its principal directions. Llama-1B has 4 x 17 blocks of 2,048, 139,264 features in all; a map
on them would be a system of 155 GB in float64. With 90 directions a block there are 6,120.

Shapes: N texts, B blocks, d width, r rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# With so many, the map of a site takes 34 MiB in its file at width 2,048, and half a minute to fit to 7,000
# traces on one core.
MOST_FEATURES = 6_144
# Texts that the directions are computed from.
SAMPLE = 2_048


@dataclass(frozen=True)
class FeatureBasis:
    """Principal directions of each block of read states.

    Attributes:
        mean: [B, d].
        deviation: [B, d] standard deviations.
        directions: [B, d, r], orthonormal, of standardized states.
    """

    mean: Tensor
    deviation: Tensor
    directions: Tensor

    @staticmethod
    def fit(states: Tensor, rank: int, seed: int = 0) -> FeatureBasis:
        """Compute the directions by randomized PCA (Halko et al. 2011, arXiv 0909.4061), block by block.

        They are rounded to half precision, as a file keeps them, so that maps are fitted on what they will
        be given.

        Args:
            states: [N, B, d] of a sample of texts.
            rank: directions a block; at most N and d.
            seed: of the random start.
        """
        mean, deviation = states.mean(0), states.std(0).clamp(min=1e-6)
        directions = []
        with torch.random.fork_rng():  # the caller's random state stays as it is
            torch.manual_seed(seed)
            for block in range(states.shape[1]):
                standardized = (states[:, block] - mean[block]) / deviation[block]
                # A few directions more than are kept make the kept ones accurate.
                wanted = min(rank + 8, *standardized.shape)
                directions.append(torch.svd_lowrank(standardized, wanted, niter=2)[2][:, :rank])
        return FeatureBasis(mean, deviation, torch.stack(directions).half().float())

    @property
    def n_features(self) -> int:
        """B x r."""
        return self.directions.shape[0] * self.directions.shape[2]

    def to(self, device: torch.device) -> FeatureBasis:
        """The same basis on a device; itself if it is there."""
        if device == self.mean.device:
            return self
        return FeatureBasis(self.mean.to(device), self.deviation.to(device), self.directions.to(device))

    def __call__(self, states: Tensor) -> Tensor:
        """The features [N, B * r] of states [N, B, d], which are on the basis' device."""
        rank = self.directions.shape[2]
        features = states.new_empty(len(states), self.n_features)
        for block, directions in enumerate(self.directions):  # one at a time, for the memory
            standardized = (states[:, block] - self.mean[block]) / self.deviation[block]
            features[:, block * rank : (block + 1) * rank] = standardized @ directions
        return features


def rank_within(n_rows: int, blocks: int, width: int, memory: float) -> int | None:
    """Directions a block with which a map can be fitted in some memory; None where none need be left out.

    Args:
        n_rows: rows that a map is fitted on.
        blocks: B.
        width: d.
        memory: in bytes, for all that a fit holds.
    """
    features = min(largest_fit(n_rows, memory), MOST_FEATURES)
    return None if blocks * width <= features else max(1, features // blocks)


def fit_bytes(n_rows: int, features: int) -> int:
    """Bytes that `AffineMap.fit` holds.

    These are N x F features in single precision, in double, and in double once more (their solution), and two
    systems of min(N, F) squared in double.
    """
    return 20 * n_rows * features + 16 * min(n_rows, features) ** 2


def largest_fit(n_rows: int, memory: float) -> int:
    """The largest number F of features for which `AffineMap.fit` stays within `memory` bytes."""
    # First as if F were the smaller side: 20 N F + 16 F^2 <= memory.
    half = 20 * n_rows / 32
    features = int((half**2 + memory / 16) ** 0.5 - half)
    if features <= n_rows:
        return max(1, features)
    return max(n_rows, int((memory - 16 * n_rows**2) / (20 * n_rows)))
