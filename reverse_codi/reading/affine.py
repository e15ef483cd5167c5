"""The fixed map from read states to thoughts, and the whitened distance between them.

Per site: ridge regression h = A s + c on training traces; the residual covariance there gives a
Gaussian log-likelihood of the thought given the text, whose negative is the distance (field notes:
64-way retrieval .92 whitened against .77 plain). Frozen before any RL.

Shapes: N rows, F features, d width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Training thoughts kept with a map.
REFERENCES = 128


@dataclass(frozen=True)
class AffineMap:
    """One site's map with its metric.

    Attributes:
        weight: [F, d].
        bias: [d].
        mean: [d] the site's mean over the training thoughts that encode a step.
        whitener: [d, d] W with W^T W the inverse residual covariance.
        reference: [R, d] some of those thoughts: what a text is compared with to say how far it can be
            trusted.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    whitener: Tensor
    reference: Tensor

    @staticmethod
    def fit(features: Tensor, thoughts: Tensor, ridge: float, active: Tensor | None = None) -> AffineMap:
        """Fit on training traces.

        The map is sensitive to all thoughts; the metric is that of the ones which encode a step. What the
        others hold is in no text, so it would count as noise and drown the differences between claims.

        Args:
            features: [N, F] read states.
            thoughts: [N, d] their thoughts.
            ridge: strength, relative to one standardized feature's mean square over N rows times 1e-3.
            active: [N] whether a thought encodes a step; all if None, or if none does.
        """
        x, y = features.double(), thoughts.double()
        mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
        z = (x - mean) / deviation
        gram = z.T @ z + 1e-3 * ridge * len(z) * torch.eye(z.shape[1], dtype=z.dtype)
        centre = y.mean(0)
        scaled = torch.linalg.solve(gram, z.T @ (y - centre))  # [F, d]
        weight = scaled / deviation[:, None]
        bias = centre - mean @ weight
        return _with_metric(weight.float(), bias.float(), features, thoughts, active)

    @staticmethod
    def identity(features: Tensor, thoughts: Tensor, active: Tensor | None = None) -> AffineMap:
        """The naive reading: the state itself, with the metric of its residuals."""
        eye = torch.eye(thoughts.shape[1])
        return _with_metric(eye, torch.zeros(len(eye)), features, thoughts, active)

    def predict(self, features: Tensor) -> Tensor:
        """Predicted thoughts [N, d] of read states [N, F]."""
        return features @ self.weight + self.bias

    def distance(self, thoughts: Tensor, predicted: Tensor) -> Tensor:
        """Squared whitened distance per dimension; broadcasts over leading axes, [*, d] to [*]."""
        return ((thoughts - predicted) @ self.whitener.T).square().mean(-1)

    def match(self, thoughts: Tensor, predicted: Tensor) -> Tensor:
        """1 - d(thought, text) / d(thought, training mean): 1 perfect, 0 the mean, [*]."""
        return 1 - self.distance(thoughts, predicted) / self.distance(thoughts, self.mean)


def _with_metric(
    weight: Tensor, bias: Tensor, features: Tensor, thoughts: Tensor, active: Tensor | None
) -> AffineMap:
    """The map with mean, whitener and references of the causally active thoughts."""
    if active is not None and bool(active.any()):
        features, thoughts = features[active], thoughts[active]
    residual = (thoughts - (features @ weight + bias)).double()
    metric = whitener(residual - residual.mean(0)).float()
    return AffineMap(weight, bias, thoughts.mean(0), metric, thoughts[:REFERENCES].clone())


def whitener(residual: Tensor, shrinkage: float = 0.02) -> Tensor:
    """W [d, d] with W^T W the inverse covariance of residuals [N, d].

    A part `shrinkage` of the mean variance is added, so that directions which never vary do not
    count without bound.
    """
    covariance = residual.T @ residual / len(residual)
    d = len(covariance)
    covariance = covariance + shrinkage * covariance.trace() / d * torch.eye(d, dtype=residual.dtype)
    values, vectors = torch.linalg.eigh(covariance)
    return vectors @ torch.diag(values.clamp(min=1e-12).rsqrt()) @ vectors.T


def trust(map_: AffineMap, thoughts: Tensor, predicted: Tensor, shared: Tensor | None = None) -> Tensor:
    """The share [N] of wrong thoughts from which each text distinguishes its own.

    A wrong thought is a reference of the site, a training thought that encodes a step. It is distinguished if
    the text matches it less than its own thought, and if its text is another one: what a writer gives to many
    thoughts says little of any, however near one of them happens to lie. A text that fits its own thought no
    better than silence does distinguishes nothing. Matches and not distances: a text is nearer to any thought
    that lies near the mean.

    Args:
        map_: of the thoughts' site.
        thoughts: [N, d].
        predicted: [N, d] what the texts stand for.
        shared: [N, R] whether the first R references get the same text; all references and matches alone if
            None.
    """
    reference = map_.reference if shared is None else map_.reference[: shared.shape[1]]
    own = map_.match(thoughts, predicted)  # [N]
    wrong = _matches(map_, reference, predicted)
    apart = (wrong < own[:, None]) & (own > 0)[:, None]
    return (apart if shared is None else apart & ~shared).float().mean(1)


def _matches(map_: AffineMap, thoughts: Tensor, predicted: Tensor) -> Tensor:
    """The match of every text [N, d] with every thought [R, d]: [N, R], without a tensor of N x R x d."""
    # Not by a matrix product, which loses what near vectors differ by.
    gaps = torch.cdist(
        predicted @ map_.whitener.T,
        thoughts @ map_.whitener.T,
        compute_mode="donot_use_mm_for_euclid_dist",
    )
    return 1 - gaps.square() / thoughts.shape[1] / map_.distance(thoughts, map_.mean)
