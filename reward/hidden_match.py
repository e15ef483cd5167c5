"""How near the thought that a text stands for comes to the true one."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor

from reverse_codi.config import Section
from reverse_codi.rewarding import RewardBatch
from reward.registry import reward

# A well-read text of an unrelated thought lies at about twice the mean's distance (two independent
# draws around one mean), so at -1. At -2 a failed text ranks below those, and a text on which the
# linear map extrapolates cannot stretch its group's spread without bound.
WORST = -2.0


class Metric(StrEnum):
    """How distance to the thought is taken."""

    WHITENED = "whitened"
    """Squared distance whitened by the map's residual covariance: `match` in reports."""
    CENTRED_COSINE = "centred_cosine"
    """Cosine after the site's mean is subtracted; for ablations: rough size alone wins it."""
    MSE = "mse"
    """Plain squared distance, relative to the mean's: fraction of variance explained."""


class HiddenMatch(Section):
    """Options of `hidden_match`."""

    metric: Metric = Metric.WHITENED
    """whitened, centred_cosine or mse."""


@reward(worst=WORST)
def hidden_match(batch: RewardBatch, config: HiddenMatch) -> list[float | None]:
    """1 - d(thought, text) / d(thought, site mean), clipped below: 1 perfect, 0 says nothing."""
    match config.metric:
        case Metric.WHITENED:
            scores = batch.reader.match(batch.targets, batch.predicted, batch.sites)
        case Metric.CENTRED_COSINE:
            means = _means(batch)
            scores = torch.cosine_similarity(batch.targets - means, batch.predicted - means, dim=-1)
        case Metric.MSE:
            to_mean = (batch.targets - _means(batch)).square().sum(-1)
            scores = 1 - (batch.targets - batch.predicted).square().sum(-1) / to_mean
    values: list[float | None] = scores.clamp(min=WORST).tolist()
    return values


def _means(batch: RewardBatch) -> Tensor:
    """The site mean of each row, [N, d]."""
    return torch.stack([batch.reader.map_of(site).mean for site in batch.sites])
