"""A whole trace as one text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reverse_codi.reading.claims import NO_STEP
from reverse_codi.translations.record import Translation

_SENTENCE_END = re.compile(r"\.(?!\d)")


def chain_text(rows: Sequence[Translation]) -> str:
    """The whole trace as one text: each thought's claims in order, said once."""
    claims = [c.strip() for row in rows if row.trusted for c in _SENTENCE_END.split(row.translation)]
    # Word-level tokenizers decode "(no step)" as "( no step )".
    nothing = ("", NO_STEP.replace(" ", ""))
    said = dict.fromkeys(c for c in claims if c.replace(" ", "") not in nothing)
    return " ".join(f"{claim}." for claim in said) or NO_STEP
