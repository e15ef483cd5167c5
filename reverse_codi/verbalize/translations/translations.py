"""Everything that a call translated, in order: to print, to look at in a notebook, or to take elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from reverse_codi.storage.files import figures_json, write_whole
from reverse_codi.utils.notebook import data_frame, html_line, html_table
from reverse_codi.verbalize.translations.chain import chain_text
from reverse_codi.verbalize.translations.record import Translation

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

# Traces that `repr` shows.
SHOWN = 10
UNKNOWN = "I do not know"


class Translations(Sequence[Translation]):
    """The translations of N traces, one after the other: `translations[0].text`, `for row in translations`.

    Args:
        traces: of each trace its translations, in the order of its thoughts.

    Attributes:
        traces: the same.
    """

    def __init__(self, traces: Sequence[Sequence[Translation]]) -> None:
        self.traces = [list(rows) for rows in traces]
        self._rows = list(chain.from_iterable(self.traces))

    @overload
    def __getitem__(self, index: int) -> Translation: ...
    @overload
    def __getitem__(self, index: slice) -> list[Translation]: ...
    def __getitem__(self, index: int | slice) -> Translation | list[Translation]:
        """One translation, or a list of some."""
        return self._rows[index]

    def __len__(self) -> int:
        """How many translations there are, over all traces."""
        return len(self._rows)

    def __iter__(self) -> Iterator[Translation]:
        return iter(self._rows)

    def chain(self) -> list[str]:
        """Each trace as one text: the claims of its thoughts in order, without those that are not trusted."""
        return [chain_text(rows) for rows in self.traces]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Each translation as a dict; the keys are the fields of `Translation`."""
        return [asdict(row) for row in self._rows]

    def to_json(self, path: str | Path | None = None, indent: int | None = None) -> str:
        """A JSON list of all translations, null where a field is unknown.

        Args:
            path: a file to write it to, too.
            indent: spaces an item; one line if None.
        """
        text = figures_json(self.to_dicts(), indent=indent)
        if path is not None:
            write_whole(path, text + "\n")
        return text

    def to_pandas(self) -> pandas.DataFrame:
        """A data frame with a row a translation; the columns are the fields of `Translation`.

        Raises:
            UserError: pandas is not installed.
        """
        return data_frame(self.to_dicts())

    def __repr__(self) -> str:
        """A table for each of the first traces, without the logit lens."""
        lines = [
            f"Translations: {len(self)} of {len(self.traces)} trace{'s' if len(self.traces) != 1 else ''}"
        ]
        for rows in self.traces[:SHOWN]:
            lines += ["", _title(rows)]
            cells = [_cells(row) for row in rows]
            wide = max(len(site) for site, *_ in cells), max(len(text) for _, text, *_ in cells)
            lines += [
                f"  {site:<{wide[0]}}  {text:<{wide[1]}}  match {match}  trust {trust}"
                for site, text, match, trust in cells
            ]
            lines += [f"  {rows[0].answer}"] if rows[0].answer else []
        return "\n".join([*lines, *self._rest()])

    def _repr_html_(self) -> str:
        """The same, for notebooks."""
        names = ("thought", "translation", "match", "trust", "lens")
        parts = []
        for rows in self.traces[:SHOWN]:
            cells = [(*_cells(row), " ".join(row.lens or ["-"])) for row in rows]
            parts += [html_line(_title(rows), bold=True), html_table(names, cells)]
            parts += [html_line(rows[0].answer)] if rows[0].answer else []
        return "".join([*parts, *map(html_line, self._rest())])

    def _rest(self) -> list[str]:
        more = len(self.traces) - SHOWN
        return [f"... and {more} more traces; iterate, or use to_pandas()"] if more > 0 else []


def believed(row: Translation) -> str:
    """The text, or that it is not to be believed, and why."""
    return f"{UNKNOWN} ({row.translation}): {row.reason}" if row.trusted is False else row.translation


def figure(value: float | None) -> str:
    """A match or trust, "-" where it is unknown."""
    return "-" if value is None else f"{value:.2f}"


def _title(rows: Sequence[Translation]) -> str:
    return rows[0].question or rows[0].source or ""


def _cells(row: Translation) -> tuple[str, str, str, str]:
    return row.site, believed(row), figure(row.match), figure(row.trust)
