"""What a task yields: problems with their gold steps, and the errors of bad input."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from reverse_codi.config import RecipeError


class Split(StrEnum):
    """Which side of the train / held-out partition a problem lies on."""

    TRAIN = "train"
    HELDOUT = "heldout"


class TaskError(RecipeError):
    """A recipe's task or its input cannot be used; the message names the option, or file and line."""


@dataclass(frozen=True)
class Step:
    """One gold step of a solution.

    Attributes:
        english: the step in words, with its entities ("Ann has 12 + 5 = 17 apples.").
        claim: what the step says without names or objects ("12 + 5 = 17").
        result: the right-hand side of the claim ("17"), "" where the step states no result.
    """

    english: str
    claim: str
    result: str


@dataclass(frozen=True)
class Problem:
    """One question with its gold answer and steps.

    Attributes:
        question: the text that the reasoner is given.
        answer: the gold answer, canonical (see `canonical_number`).
        steps: gold steps in order; empty where the task has none.
        signature: identity up to wording; train and held-out never share one.
        where: "file:line" of its record, "" of a generated one; no part of the problem itself.
    """

    question: str
    answer: str
    steps: tuple[Step, ...]
    signature: str
    where: str = field(default="", compare=False)

    @property
    def claims(self) -> list[str]:
        """The claims of all steps, in order."""
        return [step.claim for step in self.steps]


class Task(Protocol):
    """A source of problems."""

    def problems(self, split: Split, n: int, seed: int) -> Sequence[Problem]:
        """Return `n` problems of one split; the same seed gives the same problems."""
        ...

    def extract_answer(self, text: str) -> str | None:
        """Return the canonical answer that a model's text states, or None."""
        ...


# A hyphen after a word or a digit ("10-3", "page-5") is no sign.
_NUMBER = re.compile(
    r"(?P<minus>(?<![\w.)%])[-−][$€£]?)?"
    r"(?:(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.(?P<decimals>\d+))?|\.(?P<bare>\d+))"
)
_CUE = re.compile(r"answer is\s*:?\s*", re.IGNORECASE)


def canonical_number(text: str) -> str | None:
    """Return the first number in `text` without separators or needless zeros, or None.

    >>> canonical_number("$1,234.50 in all")
    '1234.5'
    >>> canonical_number("-.50")
    '-0.5'
    >>> canonical_number("none") is None
    True
    """
    match = _NUMBER.search(text)
    if match is None:
        return None
    whole = (match["whole"] or "").replace(",", "").lstrip("0") or "0"
    decimals = (match["decimals"] or match["bare"] or "").rstrip("0")
    number = f"{whole}.{decimals}" if decimals else whole
    return f"-{number}" if match["minus"] and number != "0" else number


def stated_text(text: str) -> str | None:
    """Return the rest of the line after the last "answer is" cue of `text`, or None without a cue."""
    cues = list(_CUE.finditer(text))
    return text[cues[-1].end() :].split("\n")[0].strip() if cues else None


def stated_answer(text: str) -> str | None:
    """Return the first number on the line after the last "answer is" cue of `text`, or None."""
    stated = stated_text(text)
    return None if stated is None else canonical_number(stated)


def split_by_hash(signature: str, heldout_percent: int) -> Split:
    """The side of the partition that a signature lies on: a hash, the same for every seed and process."""
    digest = hashlib.sha256(signature.encode()).digest()
    bucket = int.from_bytes(digest[:4], "big") % 100
    return Split.HELDOUT if bucket < heldout_percent else Split.TRAIN
