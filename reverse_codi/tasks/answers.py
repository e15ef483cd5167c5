"""Canonical answers of each kind, and where a model's text states one.

A task says what an answer is. A reasoner says where the answer stands in its text. `answer_of` asks both.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Protocol

from reverse_codi.tasks.base import Task
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.tasks.numbers import whole_number

Canonical = Callable[[str], str | None]
"""Turns a text that begins with an answer into its canonical form, or None."""

CUE = "The answer is:"
"""What CODI writes before an answer."""

# CODI's cue in other words; "####" is GSM8K's, "###" Coconut's.
_CUES = (r"answer\s+is\s*:?", "#{3,}")
# A name or class is no longer than this, or "A-A-A" would take quadratic time.
_IS_A = re.compile(r"\b([A-Z][\w'-]{0,99}) is an? ([a-z][\w'-]*)")
_CLASS = re.compile(r"\W*(?:an? )?([a-z][\w'-]*)")
_TRUTH = re.compile(r"\b(?:(true|yes)|false|no)\b", re.IGNORECASE)
_LETTER = re.compile(r"\W*([A-E])(?![\w'])(?! [a-z])")


class Answering(Protocol):
    """Anything that writes answers."""

    @property
    def answer_cue(self) -> str:
        """What stands before an answer; "" if the answer stands alone."""
        ...


def answer_of(reasoner: Answering, task: Task, text: str) -> str | None:
    """The canonical answer that a text of the reasoner states, after its thoughts or in CoT mode; or None."""
    return task.extract_answer(text, reasoner.answer_cue)


def stated(text: str, canonical: Canonical, cue: str = CUE) -> str | None:
    """The answer that a text states.

    It stands after the last cue: the model's own cue or a usual one. If the model writes the answer alone and
    there is no cue, the last line is the answer, unless it states an equation: then it is a step.

    >>> stated("The answer is: Tom is a lempus.", canonical_sentence)
    'Tom is a lempus'
    >>> stated("Tom is a lempus.", canonical_sentence, cue="")
    'Tom is a lempus'
    """
    answers = map(canonical, _stated(text, cue))
    return next((answer for answer in answers if answer is not None), None)


def stated_text(text: str, cue: str = CUE) -> str | None:
    """The words in which a text states its answer, to the end of their line, or None; see `stated`."""
    return next(_stated(text, cue), None)


def _stated(text: str, cue: str) -> Iterator[str]:
    """The places where an answer may stand, likeliest first."""
    for pattern in _patterns(cue):
        places = list(pattern.finditer(text))
        if places:
            yield text[places[-1].end() :].split("\n")[0].strip()
    last = text.rstrip().rpartition("\n")[2].strip()
    if not cue and last and not parse_equations(last):
        yield last


@functools.cache
def _patterns(cue: str) -> tuple[re.Pattern[str], ...]:
    # A word-level tokenizer puts a space between any two words and marks.
    own = r"\s*".join(map(re.escape, re.findall(r"\w+|[^\w\s]", cue)))
    return tuple(re.compile(rf"{words}\s*", re.IGNORECASE) for words in (own, *_CUES) if words)


def canonical_text(text: str) -> str:
    """An answer in words, without extra spaces and final full stops."""
    return " ".join(text.split()).rstrip(" .")


def canonical_plain(text: str) -> str:
    """An answer of any kind: a number if the text is only a number, else its words.

    >>> canonical_plain("1,080.0"), canonical_plain("Tom  is a lempus.")
    ('1080', 'Tom is a lempus')
    """
    return whole_number(text) or canonical_text(text)


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
    """The letter A to E that a text begins with, or None; the article in "A good one" does not count.

    >>> canonical_letter("(B) bank"), canonical_letter("A"), canonical_letter("A good one")
    ('B', 'A', None)
    """
    match = _LETTER.match(text)
    return match[1] if match else None
