"""The fixed map from read states to thoughts, and the whitened distance between them.

For each site, ridge regression fits h = A s + c on training traces. The covariance of its residuals gives a
Gaussian log-likelihood of the thought given the text; the distance is its negative (64-way retrieval in a
prototype: .92 whitened against .77 plain). The map is frozen before any RL.

Shapes: N rows, F features, d width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reverse_codi.reading.ridge import ridge as ridge_regression

# Training thoughts kept with a map.
REFERENCES = 128
# Strengths that `auto` chooses from. On 1,500 traces the best one gives the third thought of the embedded
# reasoner a match of .56, the smallest .41; on 6,000 traces .75 and .72.
RIDGES = (0.1, 3.0, 100.0)


@dataclass(frozen=True)
class AffineMap:
    """One site's map with its metric.

    Attributes:
        weight: [F, d].
        bias: [d].
        mean: [d] the site's mean over the training thoughts that encode a step.
        whitener: [d, d] W with W^T W the inverse residual covariance.
        reference: [R, d] some of those thoughts; `trust` compares a text with them.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    whitener: Tensor
    reference: Tensor

    @staticmethod
    def fit(
        features: Tensor,
        thoughts: Tensor,
        ridge: float | Literal["auto"],
        active: Tensor | None = None,
        standardized: bool = False,
    ) -> AffineMap:
        """Fit on training traces.

        The map is fitted on all thoughts, the metric only on those that encode a step. No text states what
        the other thoughts hold, so they would add noise that hides the differences between claims.

        Time grows with max(N, F) min(N, F)^2: half a minute for 7,000 rows of 6,120 features on a core.

        Args:
            features: [N, F] read states.
            thoughts: [N, d] their thoughts.
            ridge: strength, relative to one standardized feature's mean square over N rows times 1e-3; auto
                takes the one of `RIDGES` with the least leave-one-out error.
            active: [N] whether a thought encodes a step; all if None, or if none does.
            standardized: the features are coordinates on directions of standardized ones; their scales count.
        """
        x, y = features.to(torch.float64, copy=True), thoughts.double()
        mean, centre = x.mean(0), y.mean(0)
        deviation = torch.ones_like(mean) if standardized else x.std(0).clamp(min=1e-6)
        x.sub_(mean).div_(deviation)
        strengths = RIDGES if ridge == "auto" else (ridge,)
        [solved] = ridge_regression(x, [y - centre], [1e-3 * strength * len(x) for strength in strengths])
        weight = solved.weight / deviation[:, None]
        bias = centre - mean @ weight
        return _with_metric(weight.float(), bias.float(), solved.left_out, thoughts, active)

    @staticmethod
    def identity(features: Tensor, thoughts: Tensor, active: Tensor | None = None) -> AffineMap:
        """The naive reading: the state itself is the prediction; the metric comes from its residuals."""
        eye = torch.eye(thoughts.shape[1])
        return _with_metric(eye, torch.zeros(len(eye)), thoughts.double() - features, thoughts, active)

    def predict(self, features: Tensor) -> Tensor:
        """Predicted thoughts [N, d] of read states [N, F]."""
        return features @ self.weight + self.bias

    def distance(self, thoughts: Tensor, predicted: Tensor) -> Tensor:
        """Squared whitened distance per dimension; broadcasts over leading axes, [*, d] to [*]."""
        return ((thoughts - predicted) @ self.whitener.T).square().mean(-1)

    def distances(self, thoughts: Tensor, predicted: Tensor) -> Tensor:
        """Of every prediction [N, d] to every thought [T, d]: [N, T], without a tensor of N x T x d."""
        # Not a matrix product, which loses the small differences of near vectors.
        gaps = torch.cdist(
            predicted @ self.whitener.T,
            thoughts @ self.whitener.T,
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        return gaps.square() / thoughts.shape[1]

    def match(self, thoughts: Tensor, predicted: Tensor) -> Tensor:
        """1 - d(thought, text) / d(thought, training mean): 1 perfect, 0 the mean, [*]."""
        return 1 - self.distance(thoughts, predicted) / self.distance(thoughts, self.mean)


def _with_metric(
    weight: Tensor, bias: Tensor, residual: Tensor, thoughts: Tensor, active: Tensor | None
) -> AffineMap:
    """The map with mean, whitener and references of the causally active thoughts."""
    if active is not None and bool(active.any()):
        residual, thoughts = residual[active], thoughts[active]
    metric = whitener(residual - residual.mean(0)).float()
    return AffineMap(weight, bias, thoughts.mean(0), metric, thoughts[:REFERENCES].clone())


def whitener(residual: Tensor, shrinkage: float = 0.02) -> Tensor:
    """W [d, d] with W^T W the inverse covariance of residuals [N, d].

    The share `shrinkage` of the mean variance is added, so that directions which never vary do not get an
    unbounded weight.
    """
    covariance = residual.T @ residual / len(residual)
    d = len(covariance)
    covariance = covariance + shrinkage * covariance.trace() / d * torch.eye(d, dtype=residual.dtype)
    values, vectors = torch.linalg.eigh(covariance)
    return vectors @ torch.diag(values.clamp(min=1e-12).rsqrt()) @ vectors.T


def trust(map_: AffineMap, thoughts: Tensor, predicted: Tensor, shared: Tensor | None = None) -> Tensor:
    """The share [N] of wrong thoughts from which each text distinguishes its own.

    The wrong thoughts are the references of the site: training thoughts that encode a step. A text
    distinguishes its own thought from a wrong one if it matches the wrong one less, and if the wrong one gets
    another text. A text that the verbalizer gives to many thoughts says little about any of them. A text that
    fits its own thought no better than the mean distinguishes nothing. Matches are compared, not distances,
    because a text is nearer to any thought that lies near the mean.

    Args:
        map_: of the thoughts' site.
        thoughts: [N, d].
        predicted: [N, d] the thoughts that the texts predict.
        shared: [N, R] whether the first R references get the same text. None compares with all references, by
            matches alone.
    """
    reference = map_.reference if shared is None else map_.reference[: shared.shape[1]]
    own = map_.match(thoughts, predicted)  # [N]
    wrong = _matches(map_, reference, predicted)
    apart = (wrong < own[:, None]) & (own > 0)[:, None]
    return (apart if shared is None else apart & ~shared).float().mean(1)


def _matches(map_: AffineMap, thoughts: Tensor, predicted: Tensor) -> Tensor:
    """The match of every text [N, d] with every thought [R, d]: [N, R]."""
    return 1 - map_.distances(thoughts, predicted) / map_.distance(thoughts, map_.mean)
