"""The random start of a token's recurrence, which does not depend on the batch or the device."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from reverse_codi.reasoners.huginn.config import HuginnConfig

_CUT = 3.0  # standard deviations


class InitialStates:
    """Draws the initial states of one text, token after token.

    A truncated normal, times `embed_scale` (arXiv 2502.05171, section 3). Each token draws one row on the
    CPU, so its state depends only on the seed and the token's place, not on other texts of the batch, the
    text's length, later tokens, the device or the type.

    Args:
        config: gives width and scales.
        seed: of the text.
    """

    def __init__(self, config: HuginnConfig, seed: int) -> None:
        self.config = config
        self.generator = Generator().manual_seed(seed)

    def draw(self, n: int) -> Tensor:
        """The next `n` tokens' states [n, d], float32."""
        rows = [torch.rand(self.config.n_embd, generator=self.generator) for _ in range(n)]
        uniform = torch.stack(rows) if rows else torch.empty(0, self.config.n_embd)
        edge = math.erf(_CUT / math.sqrt(2))
        normal = math.sqrt(2) * torch.erfinv(edge * (2 * uniform.double() - 1))
        return (normal.clamp(-_CUT, _CUT) * self.config.state_std * self.config.embed_scale).float()
