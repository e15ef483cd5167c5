"""The common part of all tasks on existing data: the source, its split, and rows that become problems."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from reverse_codi.tasks.answers import CUE, stated
from reverse_codi.tasks.base import Problem, Split, TaskError
from reverse_codi.tasks.corpus import Corpus, Row
from reverse_codi.tasks.skipped import OnBadRow, Skipped
from reverse_codi.tasks.source import POOL, TEST, TRAIN, VALIDATION, read_splits


@dataclass(frozen=True, kw_only=True)
class DatasetTask(ABC):
    """Problems from the hub or from files; a subclass defines the form of a row and of an answer.

    Attributes:
        source: hub id, file or folder (see `read_splits`).
        config: configuration of a hub data set.
        heldout_split: the source's split to hold out, several joined by "+"; None: its test split, or
            else its validation split. Training problems come from its train split alone.
        heldout_percent: share of signatures, in percent, held out where the source has one split only.
        on_bad_row: error raises for a malformed row; skip leaves it out and counts it by reason in the log.
    """

    source: str
    config: str | None = None
    heldout_split: str | None = None
    heldout_percent: int = 10
    on_bad_row: OnBadRow = "error"

    def __post_init__(self) -> None:
        """Refuse settings under which a side is empty."""
        if not 0 < self.heldout_percent < 100:
            raise TaskError(f"heldout_percent is {self.heldout_percent}; set it to 1..99")

    @abstractmethod
    def parse(self, row: Row) -> Problem:
        """Turn a row into a problem.

        Raises:
            TaskError: a field is missing or malformed; names the row.
        """

    @abstractmethod
    def canonical(self, text: str) -> str | None:
        """The canonical answer that a text begins with, or None."""

    @functools.cached_property
    def corpus(self) -> Corpus:
        """Every problem, read once; see `read_corpus`."""
        return self.read_corpus()

    def read_corpus(self) -> Corpus:
        """Read every problem.

        Raises:
            TaskError: nothing is at the source, a row is malformed, or a split is unknown.
        """
        splits = read_splits(self.source, self.config)
        skipped = Skipped(self.source, self.on_bad_row)
        names = self._heldout_names(splits)
        if names:
            train = () if TRAIN in names else splits.get(TRAIN, ())
            encoded = (row for name in names for row in splits[name])
            sides = (skipped.parsed(rows, self.parse) for rows in (train, encoded))
            corpus = Corpus.of_splits(self.source, *sides)
        else:
            rows = (row for split in splits.values() for row in split)
            corpus = Corpus.of_pool(self.source, skipped.parsed(rows, self.parse), self.heldout_percent)
        skipped.report()
        return corpus

    def _heldout_names(self, splits: Iterable[str]) -> list[str]:
        """The splits that are held out; none if a hash has to split the rows."""
        known = list(splits)
        if self.heldout_split is None:
            return [name for name in (TEST, VALIDATION) if name in known][:1] if TRAIN in known else []
        names = self.heldout_split.split("+")
        unknown = [name for name in names if name not in known]
        if unknown:
            has = ", ".join(known) if known != [POOL] else "one part only, which is split by hash"
            raise TaskError(f"{self.source}: no split {unknown[0]!r} to hold out; it has {has}")
        return names

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Return `n` problems of one split (the `Task` protocol); see `Corpus.draw`."""
        return self.corpus.draw(split, n, seed)

    def extract_answer(self, text: str, cue: str = CUE) -> str | None:
        """The answer that a text states (the `Task` protocol); see `answers.stated`."""
        return stated(text, self.canonical, cue)
