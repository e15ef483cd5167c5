"""A whole trace as one text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reverse_codi.reading.claims import NO_STEP
from reverse_codi.tasks.claims import parse_claims
from reverse_codi.verbalize.translations.record import Translation

_SENTENCE_END = re.compile(r"\.(?!\d)|\n")


def chain_text(rows: Sequence[Translation]) -> str:
    """The claims of a trace's thoughts as one text, in order; what is not trusted is left out.

    A step that is made twice stands twice. A thought may restate the one before it (it may hold both steps):
    what it says first, as far as the thought before it says the same in the same order, is left out.

    Args:
        rows: one trace's translations, in the order of its thoughts.
    """
    chain: list[str] = []
    before: list[str] = []
    for row in rows:
        claims = [] if row.trusted is False else _claims(row.translation)
        stated = [claim for claim, _ in claims]
        chain += [words for _, words in claims[_restated(stated, before) :]]
        before = stated
    return " ".join(f"{words}." for words in chain) or NO_STEP


def _claims(text: str) -> list[tuple[str, str]]:
    """Each sentence of a text that claims something: what it claims in canonical form, and its words."""
    found = []
    for sentence in _SENTENCE_END.split(text):
        if parsed := parse_claims(f"{sentence.strip()}."):
            found.append(("; ".join(claim.claim for claim in parsed), sentence.strip()))
    return found


def _restated(claims: Sequence[str], before: Sequence[str]) -> int:
    """How many claims, from the first, occur in `before` in the same order.

    >>> _restated(["a", "b"], ["a"]), _restated(["b", "a"], ["a", "b"]), _restated(["a"], ["b"])
    (1, 1, 0)
    """
    start = 0
    for n, claim in enumerate(claims):
        if claim not in before[start:]:
            return n
        start = before.index(claim, start) + 1
    return len(claims)
