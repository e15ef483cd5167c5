"""Tables that fit a terminal of 80 columns.

Records are rows, see `Table`. What is compared stands side by side, four at most, and its figures are rows
(`side_by_side`). No number and no word of a header is broken; texts go on in the next line, between words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

WIDTH = 80
"""Columns that every table fits."""
SIDE_BY_SIDE = 4
"""Writers, stages or rows of an ablation that stand beside each other at most."""

_GAP = 2
# Longer words, such as paths, may be broken in a column of texts.
_WORD = 24
_FIGURE = re.compile(r"-|(x )?[-+]?\d[\d.,]*( ?%|M|k)?( [\[(±].*)?")


class Table:
    """Records as rows; it lays itself out in the width of the console that prints it.

    Args:
        *columns: names.
        title: a line above.
        texts: names of the columns whose cells may go on in the next line.

    Attributes:
        rows: cells as they stand, without markup.
    """

    def __init__(self, *columns: str, title: str = "", texts: Iterable[str] = ()) -> None:
        self.columns = list(columns)
        self.title = title
        self.texts = set(texts)
        self.rows: list[list[str]] = []

    def add_row(self, *cells: str) -> None:
        """Add a row; cells that are missing at its end are empty."""
        self.rows.append([*cells, *[""] * (len(self.columns) - len(cells))])

    def column(self, name: str) -> list[str]:
        """The cells of a column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def fits(self, room: int = WIDTH) -> bool:
        """Whether no word is broken in a console of `room` columns, but long ones in a column of texts."""
        widths = [self._least(place) for place in range(len(self.columns))]
        return sum(widths) + _GAP * (len(widths) - 1) <= room

    def widths(self, room: int) -> list[int]:
        """The width of each column in a console of `room` columns.

        A column of figures is as wide as the widest of them; its header goes on in the next line where that
        is wider. Texts share what is left, and then headers.
        """
        widths = [self._least(place) for place in range(len(self.columns))]
        room -= _GAP * (len(widths) - 1)
        _widen(widths, [_longest(*cells) for _, cells in self._cells()], room)
        _widen(widths, [_longest(name) for name in self.columns], room)
        return widths

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The title, the names, a rule, and the rows, as lines without spaces at their ends."""
        if self.title:
            yield Text(self.title, style="bold")
        widths = self.widths(options.max_width)
        right = [
            name not in self.texts and all(_FIGURE.fullmatch(cell) for cell in cells if cell)
            for name, cells in self._cells()
        ]

        def lines(row: Sequence[str], style: str = "") -> RenderResult:
            wrapped = [Text(cell).wrap(console, width) for cell, width in zip(row, widths, strict=True)]
            for parts in zip_longest(*wrapped, fillvalue=Text()):
                line = []
                for part, width, figure in zip(parts, widths, right, strict=True):
                    word = part.plain.rstrip()
                    space = " " * (width - cell_len(word))
                    line.append(space + word if figure else word + space)
                yield Text((" " * _GAP).join(line).rstrip(), style=style, no_wrap=True, overflow="ignore")

        yield from lines(self.columns, "bold")
        yield from lines([("-" if options.ascii_only else "─") * width for width in widths])
        for row in self.rows:
            yield from lines(row)

    def _cells(self) -> Iterable[tuple[str, list[str]]]:
        return ((name, [row[place] for row in self.rows]) for place, name in enumerate(self.columns))

    def _least(self, place: int) -> int:
        name, cells = self.columns[place], [row[place] for row in self.rows]
        if name in self.texts:
            return max(_longest_word(name), min(_longest_word(*cells), _WORD))
        return max(_longest_word(name), _longest(*cells))


def side_by_side(
    figures: Sequence[str], writers: Mapping[str, Sequence[str]], *, title: str = "", label: str = "figure"
) -> list[Table | Text]:
    """Figures as rows and what is compared as columns, in as many tables as that takes.

    Args:
        figures: N names.
        writers: name -> N cells.
        title: above the first table.
        label: what the rows are.

    Returns:
        What is to be printed, one below the other. A name that is too long for a header, such as a path, is
        a number there, and a line before says whose.
    """
    long = [name for name in writers if _longest_word(name) > _WORD]
    numbers = {name: f"[{place}]" for place, name in enumerate(long, start=1)}
    shown: list[Table | Text] = [Text(f"{number} {name}") for name, number in numbers.items()]

    def table(names: Sequence[str]) -> Table:
        made = Table(label, *(numbers.get(name, name) for name in names), title=title, texts=[label])
        for row, figure in enumerate(figures):
            made.add_row(figure, *(writers[name][row] for name in names))
        return made

    rest = list(writers)
    while rest:
        many = min(SIDE_BY_SIDE, len(rest))
        while many > 1 and not table(rest[:many]).fits():
            many -= 1
        shown.append(table(rest[:many]))
        rest, title = rest[many:], ""
    return shown


def _widen(widths: list[int], wanted: Sequence[int], room: int) -> None:
    """Give columns up to `wanted` of what is left, the narrowest first: short texts stay whole."""
    for _ in range(room - sum(widths)):
        short = [place for place, width in enumerate(widths) if width < wanted[place]]
        if not short:
            break
        widths[min(short, key=widths.__getitem__)] += 1


def _longest(*texts: str) -> int:
    return max(map(cell_len, texts), default=0)


def _longest_word(*texts: str) -> int:
    return max((cell_len(word) for text in texts for word in text.split()), default=0)
