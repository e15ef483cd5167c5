"""Says that a text is too long: rewards for content alone let length explode (NLA, as `novelty` says)."""

from __future__ import annotations

from pydantic import Field

from reverse_codi import RewardBatch, reward
from reverse_codi.utils.config import Section

# The lower bound below. An empty text is within any budget, but at 0 silence would be the best answer.
WORST = -1.0


class Brevity(Section):
    """Options of `brevity`."""

    budget: int = Field(default=24, ge=1)
    """Tokens that cost nothing."""
    span: int = Field(default=24, ge=1)
    """Tokens beyond the budget after which the penalty is full."""


@reward(worst=WORST)
def brevity(batch: RewardBatch, config: Brevity) -> list[float | None]:
    """0 within the token budget, then falling in a straight line to -1."""
    over = [max(0, len(ids) - config.budget) for ids in batch.token_ids]
    return [max(WORST, -tokens / config.span) for tokens in over]
