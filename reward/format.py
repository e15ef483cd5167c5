"""Does the text have the form that it should have?

A rule for form beside rewards for content is the usual pair of RL with checkable rewards (DeepSeek-R1, arXiv
2501.12948, section 2.2.2). Content rewards leave the form free, and an odd one may read as well.
"""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from reverse_codi import RewardBatch, reward
from reverse_codi.utils.config import Section

# Another form is 0; a text that was cut off or says nothing has none.
WORST = -1.0

_NUMBER = r"\(*-?\d+(?:,\d{3})*(?:\.\d+)?\)*"
_EQUATION = rf"{_NUMBER}(?:\s*[-+*/%]\s*{_NUMBER})+\s*=\s*{_NUMBER}"
CLAIMS = rf"{_EQUATION}(?:\s*\.\s+{_EQUATION})*\s*\.?|\(\s*no step\s*\)"
"""Equations, each but the last closed by a full stop, or "(no step)"; for tasks whose claims are sums."""


class Format(Section):
    """Options of `format`."""

    pattern: str = Field(default=CLAIMS)
    """Regular expression that the whole text, stripped, must match. The default is one or more equations
    ("12 + 5 = 17. 17 * 2 = 34.") or "(no step)"; give your own where claims are sentences."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}; fix it, or drop it for equations") from None
        return pattern


@reward(worst=WORST, name="format")
def format_(batch: RewardBatch, config: Format) -> list[float | None]:
    """1 where the whole text matches the pattern, else 0."""
    pattern = re.compile(config.pattern)
    return [float(pattern.fullmatch(text.strip()) is not None) for text in batch.texts]
