"""How much of the thought a reader that is trained along gets out of the text (optional).

For reasoners on which no frozen reading works. The reader learns whatever the verbalizer writes, so a high
value says that a text carries the thought, not that its words mean it: keep `hidden_match` beside it, and
judge the texts with readings that were never trained.
"""

from __future__ import annotations

import torch

from reverse_codi import RewardBatch, reward
from reverse_codi.reading.reconstructor import Scale
from reverse_codi.reading.reconstructor_actor import (
    CoTraining,
    CoTrainingSection,
    SharedCoTraining,
    co_training,
)
from reverse_codi.reasoners.codi import CodiReasoner

# As in `hidden_match`: a well-read text of an unrelated thought lies at -1.
WORST = -2.0


@reward(worst=WORST, name="reconstruction")
class Reconstruction:
    """1 - |h - r(text)|^2 / |h - site mean|^2 of a co-trained reader r, clipped: 1 perfect, 0 says nothing.

    The texts of a batch train r right after they are scored.

    Args:
        config: start, savings and hyperparameters.
    """

    def __init__(self, config: CoTrainingSection) -> None:
        self.config = config
        self._training: CoTraining | SharedCoTraining | None = None

    def __call__(self, batch: RewardBatch) -> list[float | None]:
        """Score, then learn."""
        if self._training is None:  # a config knows no reasoner, the first batch does
            self._training = self._start(batch)
        result = self._training.step(batch.texts, batch.sites, batch.targets)
        means = torch.stack([batch.metric.map_of(site).mean for site in batch.sites])
        error = (batch.targets - result.predicted).square().sum(-1)  # [N]
        to_mean = (batch.targets - means).square().sum(-1)
        batch.log("fve", (1 - error.sum() / to_mean.sum()).item())
        batch.log("loss", result.loss)
        values: list[float | None] = (1 - error / to_mean).clamp(min=WORST).tolist()
        return values

    def _start(self, batch: RewardBatch) -> CoTraining | SharedCoTraining:
        reasoner = batch.reasoner
        if not isinstance(reasoner, CodiReasoner):
            kind = type(reasoner).__name__
            raise TypeError(f"a reconstructor is made of a CodiReasoner's language model, not of a {kind}'s")
        scales = {site: Scale.of(fitted.reference, fitted.mean) for site, fitted in batch.metric.maps.items()}
        return co_training(reasoner, scales, self.config)
