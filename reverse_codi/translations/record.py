"""One translated thought, and whether it may be believed."""

from __future__ import annotations

from dataclasses import dataclass

# Below this percentile among wrong thoughts a translation is not worth believing.
TRUST_THRESHOLD = 0.9


@dataclass(frozen=True)
class Translation:
    """One thought, or one whole trace, in words.

    Attributes:
        question: what the model was asked.
        site: which thought; `answer` for the trace.
        translation: what it says.
        match: 1 - d(thought, text) / d(thought, training mean).
        trust: share of wrong thoughts of the same site that the text matches less than this one.
        lens: logit-lens top 5 of the readout.
        answer: what the model answered.
    """

    question: str
    site: str
    translation: str
    match: float
    trust: float
    lens: list[str]
    answer: str

    @property
    def trusted(self) -> bool:
        """Whether the row says what it knows: it fits few wrong thoughts, and its own better than silence."""
        return self.trust >= TRUST_THRESHOLD and self.match > 0
