"""One translated thought, and whether it may be believed."""

from __future__ import annotations

from dataclasses import dataclass, field

from reverse_codi.reading.claims import claimed

# A translation that distinguishes its thought from a smaller share of wrong ones is not worth believing.
TRUST_THRESHOLD = 0.9
# Why a translation has no match and no trust.
NO_HIDDEN_STATE = "not scored: no hidden state is known that the text could be compared with"
NO_QUESTION = "not scored: texts are read after the question, which is unknown"


@dataclass(frozen=True)
class Translation:
    """One thought, or one whole trace, in words.

    Attributes:
        question: what the model was asked; None where only vectors are known.
        site: which thought; `answer` for the trace.
        translation: what it says.
        match: 1 - d(thought, text) / d(thought, training mean); None where there is nothing to compare with.
        trust: share of wrong thoughts of the same site which the text matches less than this one, and which
            the verbalizer gives another text (`reading.affine.trust`); 0 where the mean is nearer or no claim
            can be read; None without a match.
        lens: logit-lens top 5 of the hidden state; None without one.
        answer: what the model answered; None where that is unknown.
        source: file or store and row that the vectors come from; None where the model thought anew.
        shared: share of wrong thoughts that the verbalizer translates alike; None where that is unknown.
        trusted: whether the row says what it knows; None where it could not be scored.
        reason: why it is trusted, or not.
    """

    question: str | None
    site: str
    translation: str
    match: float | None
    trust: float | None
    lens: list[str] | None
    answer: str | None
    source: str | None = None
    shared: float | None = None
    trusted: bool | None = field(init=False)
    reason: str = field(init=False)

    def __post_init__(self) -> None:
        """Judge."""
        trusted, reason = self._verdict()
        object.__setattr__(self, "trusted", trusted)
        object.__setattr__(self, "reason", reason)

    @property
    def text(self) -> str:
        """`translation`."""
        return self.translation

    def _verdict(self) -> tuple[bool | None, str]:
        if claimed(self.translation) is None:
            return False, "no claim can be read in it"
        if self.shared is not None and self.shared > 1 - TRUST_THRESHOLD:
            return False, f"{self.shared:.0%} of other thoughts get the same text"
        if self.match is None or self.trust is None:
            return None, NO_HIDDEN_STATE if self.lens is None else NO_QUESTION
        if not self.match > 0:
            return False, "the training mean is nearer to the thought"
        if not self.trust >= TRUST_THRESHOLD:
            return False, f"{1 - self.trust:.0%} of wrong thoughts fit as well"
        return True, f"{self.trust:.0%} of wrong thoughts fit less"
