"""Canonical answers of each kind, and where a model's text states one."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

from reverse_codi.tasks.base import stated_text

Canonical = Callable[[str], str | None]
"""From a text that begins with an answer to its canonical form, or None."""

# Binary floats carry noise from about the 16th digit on: 64.39999999999999 was meant as 64.4.
_DIGITS = 12

# "####" is GSM8K's, "###" Coconut's.
_MARK = re.compile(r"#{3,}")
_IS_A = re.compile(r"\b([A-Z][\w'-]*) is an? ([a-z][\w'-]*)")
_CLASS = re.compile(r"\W*(?:an? )?([a-z][\w'-]*)")
_TRUTH = re.compile(r"\b(?:(true|yes)|false|no)\b", re.IGNORECASE)
_LETTER = re.compile(r"\W*([A-E])(?![\w'])(?! [a-z])")


def stated(text: str, canonical: Canonical) -> str | None:
    """The answer that a text states: after its last "answer is" cue, else after its last `####`.

    >>> stated("The answer is: Tom is a lempus.", canonical_sentence)
    'Tom is a lempus'
    """
    said = stated_text(text)
    answer = None if said is None else canonical(said)
    marks = list(_MARK.finditer(text))
    if answer is None and marks:
        answer = canonical(text[marks[-1].end() :].strip().split("\n")[0])
    return answer


def canonical_sentence(text: str) -> str | None:
    """ProsQA's "A is a B", or None.

    >>> canonical_sentence("Oliver is an impus.")
    'Oliver is a impus'
    """
    match = _IS_A.search(text)
    return f"{match[1]} is a {match[2]}" if match else None


def canonical_class(text: str) -> str | None:
    """The B of "A is a B", or the word that the text begins with, or None.

    >>> canonical_class("Oliver is an impus."), canonical_class("impus")
    ('impus', 'impus')
    """
    match = _IS_A.search(text)
    if match:
        return match[2]
    word = _CLASS.match(text)
    return word[1] if word else None


def canonical_truth(text: str) -> str | None:
    """True for the first true or yes of a text, False for a false or no, as CODI writes them; or None.

    >>> canonical_truth("yes, it is"), canonical_truth("false"), canonical_truth("unknown")
    ('True', 'False', None)
    """
    match = _TRUTH.search(text)
    return None if match is None else "True" if match[1] else "False"


def canonical_letter(text: str) -> str | None:
    """The letter A to E that a text begins with, or None; the article of "A good one" is none.

    >>> canonical_letter("(B) bank"), canonical_letter("A"), canonical_letter("A good one")
    ('B', 'A', None)
    """
    match = _LETTER.match(text)
    return match[1] if match else None


def written_number(value: int | float) -> str:
    """A JSON number in decimal digits, free of the noise of binary floats.

    >>> written_number(64.39999999999999), written_number(1e15), written_number(7)
    ('64.4', '1000000000000000', '7')
    """
    return str(value) if isinstance(value, int) else format(Decimal(f"{value:.{_DIGITS}g}"), "f")
