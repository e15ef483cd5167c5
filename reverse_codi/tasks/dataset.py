"""What all tasks on existing data have in common: where it is, its split, its rows turned into problems."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from reverse_codi.tasks.answers import stated
from reverse_codi.tasks.base import Problem, Split, TaskError
from reverse_codi.tasks.corpus import Corpus, Row
from reverse_codi.tasks.source import POOL, TEST, TRAIN, VALIDATION, read_splits


@dataclass(frozen=True, kw_only=True)
class DatasetTask(ABC):
    """Problems from the hub or from files; a subclass says what a row and an answer look like.

    Attributes:
        source: hub id, file or folder (see `read_splits`).
        config: configuration of a hub data set.
        heldout_split: the source's split to hold out, several joined by "+"; None: its test split, or
            else its validation split. Training problems come from its train split alone.
        heldout_percent: share of signatures, in percent, held out where the source has one split only.
        bad_rows: malformed rows that may be left out; one more is an error.
    """

    source: str
    config: str | None = None
    heldout_split: str | None = None
    heldout_percent: int = 10
    bad_rows: int = 0

    def __post_init__(self) -> None:
        """Refuse settings under which a side is empty."""
        if not 0 < self.heldout_percent < 100:
            raise TaskError(f"heldout_percent is {self.heldout_percent}; set it to 1..99")
        if self.bad_rows < 0:
            raise TaskError(f"bad_rows is {self.bad_rows}; set it to 0 or more")

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
        left_out: list[TaskError] = []
        names = self._heldout_names(splits)
        if not names:
            rows = (row for split in splits.values() for row in split)
            return Corpus.of_pool(self.source, self._parsed(rows, left_out), self.heldout_percent)
        train = () if TRAIN in names else splits.get(TRAIN, ())
        held = (row for name in names for row in splits[name])
        return Corpus.of_splits(self.source, self._parsed(train, left_out), self._parsed(held, left_out))

    def _heldout_names(self, splits: Iterable[str]) -> list[str]:
        """The splits that are held out; none where a hash has to part the rows."""
        known = list(splits)
        if self.heldout_split is None:
            return [name for name in (TEST, VALIDATION) if name in known][:1] if TRAIN in known else []
        names = self.heldout_split.split("+")
        unknown = [name for name in names if name not in known]
        if unknown:
            has = ", ".join(known) if known != [POOL] else "one part only, which is split by hash"
            raise TaskError(f"{self.source}: no split {unknown[0]!r} to hold out; it has {has}")
        return names

    def _parsed(self, rows: Iterable[Row], left_out: list[TaskError]) -> Iterator[Problem]:
        for row in rows:
            try:
                yield replace(self.parse(row), where=row.where)
            except TaskError as error:
                if len(left_out) == self.bad_rows:
                    raise
                left_out.append(error)

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Return `n` problems of one split (the `Task` protocol); see `Corpus.draw`."""
        return self.corpus.draw(split, n, seed)

    def extract_answer(self, text: str) -> str | None:
        """The answer after "The answer is:", else after `####`."""
        return stated(text, self.canonical)
