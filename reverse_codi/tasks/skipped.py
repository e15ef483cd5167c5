"""Rows that cannot be used: either the first one raises, or all are left out and counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from reverse_codi.tasks.base import Problem, TaskError
from reverse_codi.tasks.corpus import Row, RowError

OnBadRow = Literal["error", "skip"]
# Number of reasons that the log lists.
_MOST_NAMED = 8

log = logging.getLogger(__name__)


@dataclass
class Skipped:
    """Counts of one source.

    Attributes:
        source: path or hub id, for messages.
        on_bad_row: error raises at the first bad row; skip counts all of them.
        rows: rows read.
        by_reason: reason -> how many rows, and where the first one is.
    """

    source: str
    on_bad_row: OnBadRow
    rows: int = 0
    by_reason: dict[str, tuple[int, str]] = field(default_factory=dict)

    def parsed(self, rows: Iterable[Row], parse: Callable[[Row], Problem]) -> Iterator[Problem]:
        """The problems of the rows that can be used.

        Raises:
            TaskError: a row cannot be used, and rows may not be skipped.
        """
        for row in rows:
            self.rows += 1
            try:
                problem = replace(parse(row), where=row.where)
            except TaskError as error:
                if self.on_bad_row == "error":
                    raise
                reason = error.reason if isinstance(error, RowError) else str(error)
                count, first = self.by_reason.get(reason, (0, row.where))
                self.by_reason[reason] = count + 1, first
            else:
                yield problem

    @property
    def count(self) -> int:
        """Rows left out."""
        return sum(count for count, _ in self.by_reason.values())

    def report(self) -> None:
        """Log how many rows were left out, by reason, most frequent first; log nothing if none was.

        Raises:
            TaskError: no row is left.
        """
        if not self.count:
            return
        reasons = sorted(self.by_reason.items(), key=lambda item: -item[1][0])
        lines = [f"{count:,} x {reason} (first: {first})" for reason, (count, first) in reasons]
        more = len(lines) - _MOST_NAMED
        named = [*lines[:_MOST_NAMED], *([f"{more:,} other reasons"] if more > 0 else [])]
        if self.count == self.rows:
            raise TaskError(f"{self.source}: none of {self.rows:,} rows can be used: {'; '.join(named)}")
        log.warning("%s: %s of %s rows skipped", self.source, f"{self.count:,}", f"{self.rows:,}")
        for line in named:
            log.warning("  %s", line)
