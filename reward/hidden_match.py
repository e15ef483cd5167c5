"""How near the thought that a text stands for comes to the true one."""

from __future__ import annotations

from enum import StrEnum

import torch
import torch.nn.functional as F
from torch import Tensor

from reverse_codi import RewardBatch, reward
from reverse_codi.utils.config import Section

# A well-read text of an unrelated thought lies at about twice the mean's distance (two independent
# draws around one mean), so at -1. At -2 a failed text ranks below those, and a text on which the
# linear map extrapolates cannot stretch its group's spread without bound.
WORST = -2.0
# `neg_log_mse` has no upper end. At 5 a text explains all but e^-5 = .7% of the variance: nothing is left to
# learn there, and an exact hit (restating the question does it for h0) would be infinite.
BEST_LOG = 5.0


class Metric(StrEnum):
    """How distance to the thought is taken."""

    WHITENED = "whitened"
    """Squared distance whitened by the map's residual covariance: `match` in reports."""
    CENTRED_COSINE = "centred_cosine"
    """Cosine after the site's mean is subtracted; for ablations: rough size alone wins it."""
    MSE = "mse"
    """Plain squared distance, relative to the mean's: fraction of variance explained."""
    NEG_LOG_MSE = "neg_log_mse"
    """-log(mse / mse of the mean), clipped above at 5: halving the error is worth the same anywhere."""
    SMOOTH_L1 = "smooth_l1"
    """CODI's distillation distance (arXiv 2502.21074): SmoothL1 over the standard deviation of the site's
    thoughts, relative to the mean's. Squared below one deviation and straight above, so that a few loud
    directions do not decide alone."""


class HiddenMatch(Section):
    """Options of `hidden_match`."""

    metric: Metric = Metric.WHITENED
    """whitened, centred_cosine, mse, neg_log_mse or smooth_l1."""


@reward(worst=WORST)
def hidden_match(batch: RewardBatch, config: HiddenMatch) -> list[float | None]:
    """1 - d(thought, text) / d(thought, site mean), clipped below: 1 perfect, 0 says nothing.

    `centred_cosine` and `neg_log_mse` are no such ratio; 0 says nothing there too.
    """
    match config.metric:
        case Metric.WHITENED:
            scores = batch.metric.match(batch.targets, batch.predicted, batch.sites)
        case Metric.CENTRED_COSINE:
            means = _means(batch)
            scores = torch.cosine_similarity(batch.targets - means, batch.predicted - means, dim=-1)
        case Metric.MSE:
            scores = 1 - _relative_mse(batch)
        case Metric.NEG_LOG_MSE:
            scores = (-_relative_mse(batch).log()).clamp(max=BEST_LOG)
        case Metric.SMOOTH_L1:
            scores = 1 - _smooth_l1(batch, batch.predicted) / _smooth_l1(batch, _means(batch))
    values: list[float | None] = scores.clamp(min=WORST).tolist()
    return values


def _means(batch: RewardBatch) -> Tensor:
    """The site mean of each row, [N, d]."""
    return torch.stack([batch.metric.map_of(site).mean for site in batch.sites])


def _relative_mse(batch: RewardBatch) -> Tensor:
    """Mean squared error of each row over that of its site's mean, [N]."""
    to_mean = (batch.targets - _means(batch)).square().mean(-1)
    return (batch.targets - batch.predicted).square().mean(-1) / to_mean


def _smooth_l1(batch: RewardBatch, guesses: Tensor) -> Tensor:
    """SmoothL1 [N] between thoughts and guesses [N, d], both over the site's standard deviation.

    One deviation a site, over rows and dimensions, as in training (`reasoners.distillation`). CODI averages
    over layers; a target holds the final one.
    """
    scale = torch.stack([batch.metric.map_of(site).reference.std() for site in batch.sites])[:, None]
    return F.smooth_l1_loss(guesses / scale, batch.targets / scale, reduction="none").mean(-1)
