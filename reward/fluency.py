"""Is the text likely under a frozen language model?

The log-likelihood of a fixed model holds a policy to ordinary text, as the KL term to the reference model
does in RLHF (Ziegler et al. 2019, arXiv 1909.08593), but of the text alone: a KL holds it to what the start
would say of this thought. It tells nothing of the thought, and its best text is one text for everything:
keep its weight small, or set `enough`, and put `novelty` beside it.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from reverse_codi import RewardBatch, reward
from reverse_codi.reading.language_model import LanguageModel
from reverse_codi.utils.config import Section

# A token drawn blindly from 22,000 costs 10 nats; public vocabularies have 32,000 to 150,000. What is that
# unlikely is no text, and one token more or less of it should not stretch its group's spread.
WORST = -10.0


class Fluency(Section):
    """Options of `fluency`."""

    model: str = ""
    """Folder, hub id or .gguf file of a causal language model; the reasoner's own CoT mode if empty."""
    device: str = "cpu"
    """Where `model` runs; the reasoner runs where the reader does."""
    enough: float = Field(default=0.0, le=0, gt=WORST)
    """Nats a token above which nothing is gained, so that a likely text need not become the likeliest; 0
    is no limit."""


@reward(worst=WORST, name="fluency")
class FluencyReward:
    """Mean log-likelihood a token, in nats, clipped below at -10 and above at `enough`.

    Args:
        config: which model.
    """

    def __init__(self, config: Fluency) -> None:
        self.config = config
        self._model: LanguageModel | None = None

    def __call__(self, batch: RewardBatch) -> list[float | None]:
        """Score each distinct text once."""
        texts = [text.strip() for text in batch.texts]
        distinct = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        scores = (-self._nll(list(distinct), batch)).clamp(WORST, self.config.enough).tolist()
        return [scores[distinct[text]] for text in texts]

    def _nll(self, texts: list[str], batch: RewardBatch) -> Tensor:
        if not self.config.model:
            return batch.reasoner.nll(texts)
        if self._model is None:  # the driver only checks names and options, and should not load it
            self._model = LanguageModel.load(self.config.model, self.config.device)
        return self._model.nll(texts)
