"""Solutions in words: sentences, and the claim of each."""

from __future__ import annotations

import re

from reverse_codi.tasks.base import Step

_BOUNDARY = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9])|\n+")
_OBJECT = re.compile(r" is an? (\w+)$")


def sentences(text: str) -> list[str]:
    """The sentences of a text; a line break ends one too.

    >>> sentences("Sally is a rompus. Every rompus is 2.5 m long.")
    ['Sally is a rompus.', 'Every rompus is 2.5 m long.']
    """
    return [part.strip() for part in _BOUNDARY.split(text) if part.strip()]


def sentence_step(sentence: str) -> Step:
    """A step whose claim is its sentence; its result is the B of "A is a B".

    >>> sentence_step("Every rompus is a lempus.")
    Step(english='Every rompus is a lempus.', claim='Every rompus is a lempus', result='lempus')
    """
    claim = " ".join(sentence.split()).removesuffix(".")
    found = _OBJECT.search(claim)
    return Step(sentence, claim, found[1] if found else "")


def sentence_steps(text: str) -> tuple[Step, ...]:
    """One step for each sentence."""
    return tuple(map(sentence_step, sentences(text)))
