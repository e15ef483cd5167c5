"""Does the text leave the model about to say what the thought left it about to say?

A final-layer hidden state is a next-token state. This compares the two distributions in whole, so a thought
that hesitates between several words asks for a text that hesitates alike.

Shapes: N texts, V vocabulary, d width.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from reverse_codi import RewardBatch, reward
from reverse_codi.reasoners.base import Reasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.utils.config import Section
from reverse_codi.utils.micro_batch import rows_at_once

# Measured on the embedded reasoner (h0, 300 problems): the right claim costs .002 nats in the median, the
# site's mean 5, another problem's claim 20 (19 in 20 above 9.5). So what costs 10 is wrong, and how sure it
# is of the wrong word should not stretch its group's spread.
WORST = -10.0
# The most rows whose logits are held at once; fewer of a large vocabulary. Ten copies of them exist at once.
CHUNK, COPIES = 256, 10


class NextTokenMatch(Section):
    """Options of `next_token_match`."""

    temperature: float = Field(default=1.0, gt=0)
    """Divides the logits of both. Above 1, unlikely tokens count for more."""


@reward(worst=WORST)
def next_token_match(batch: RewardBatch, config: NextTokenMatch) -> list[float | None]:
    """Minus the KL divergence (nats) from the text's next-token distribution to the thought's, clipped."""
    rows = [row for row, site in enumerate(batch.sites) if is_hidden_state(site)]
    values: list[float | None] = [None] * len(batch)
    if rows:
        reasoner = batch.reasoner
        kl = divergence(reasoner, batch.targets[rows], batch.predicted[rows], config.temperature)
        for row, value in zip(rows, (-kl).clamp(min=WORST, max=0.0).tolist(), strict=True):
            values[row] = value
    return values


def is_hidden_state(site: Site) -> bool:
    """Whether the model's output head reads this vector: a final hidden state, not a latent input."""
    return site.kind != "z" and site.layer is None


def divergence(reasoner: Reasoner, thoughts: Tensor, predicted: Tensor, temperature: float) -> Tensor:
    """KL(thought || predicted) [N] in nats between next-token distributions of hidden states [N, d]."""
    rows = rows_at_once(COPIES * reasoner.logits(thoughts[:1]).shape[-1], CHUNK)
    parts = [
        _kl(reasoner.logits(one) / temperature, reasoner.logits(other) / temperature)
        for one, other in zip(thoughts.split(rows), predicted.split(rows), strict=True)
    ]
    return torch.cat(parts)


def _kl(logits: Tensor, others: Tensor) -> Tensor:
    """KL divergence [N] of softmax(others) from softmax(logits), both [N, V]."""
    log_p, log_q = logits.log_softmax(-1), others.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)
