"""Problems with their gold steps, the protocol of tasks, and the error of bad input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from reverse_codi.errors import RecipeError


class Split(StrEnum):
    """The side of the train / held-out partition that a problem belongs to."""

    TRAIN = "train"
    HELDOUT = "heldout"


class TaskError(RecipeError):
    """A task or its input cannot be used; the message names the option, or the file and line."""


@dataclass(frozen=True)
class Step:
    """One gold step of a solution.

    Attributes:
        english: the step in words, with its entities ("Ann has 12 + 5 = 17 apples.").
        claim: the content of the step without names or objects ("12 + 5 = 17").
        result: the right-hand side of the claim ("17"); "" if the step states no result.
    """

    english: str
    claim: str
    result: str


@dataclass(frozen=True)
class Problem:
    """One question with its gold answer and steps.

    Attributes:
        question: the text that the reasoner gets.
        answer: the gold answer in its canonical spelling (`tasks.answers`, `tasks.numbers`).
        steps: gold steps in order; empty if the task has none.
        signature: identity of the problem whatever its wording; train and held-out never share one.
        where: "file:line" of its record, "" for a generated problem; not part of the problem's identity.
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

    def extract_answer(self, text: str, cue: str) -> str | None:
        """Return the canonical answer that a model's text states, or None; callers use `answers.answer_of`.

        Args:
            text: what the model wrote.
            cue: what the model writes before an answer; "" if it writes the answer alone.
        """
        ...


@runtime_checkable
class MakesMinimalPairs(Protocol):
    """A task that can change one thing of a problem; `isinstance` tells whether a task can."""

    def minimal_pairs(self, split: Split, n: int, seed: int) -> Sequence[tuple[Problem, Problem]]:
        """Return `n` pairs of one split that differ in one thing, and in what is right because of it."""
        ...


@runtime_checkable
class HasVocabulary(Protocol):
    """A task of a closed vocabulary; `isinstance` tells whether a task has one."""

    def vocabulary(self) -> list[str]:
        """Return every word and mark that its questions, claims and answers are made of."""
        ...


def split_by_hash(signature: str, heldout_percent: int) -> Split:
    """The split of a signature: decided by a hash, the same for every seed and process."""
    digest = hashlib.sha256(signature.encode()).digest()
    bucket = int.from_bytes(digest[:4], "big") % 100
    return Split.HELDOUT if bucket < heldout_percent else Split.TRAIN
