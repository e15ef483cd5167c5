"""How results show themselves in a notebook: as HTML tables, and as data frames of pandas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from reverse_codi.errors import UserError

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]


def html_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; every cell is shown as the text that it is, and None as "-".

    >>> html_table(["text"], [["a < b"]])
    '<table><tr><th>text</th></tr><tr><td>a &lt; b</td></tr></table>'
    """
    lines = [_cells("th", head), *(_cells("td", row) for row in rows)]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def html_line(text: str, bold: bool = False) -> str:
    """A paragraph of plain text."""
    return f"<p><b>{escape(text)}</b></p>" if bold else f"<p>{escape(text)}</p>"


def data_frame(rows: Sequence[dict[str, Any]]) -> pandas.DataFrame:
    """Rows of the same keys as a data frame.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError:
        raise UserError("pandas is not installed; run `pip install pandas`, or use to_json()") from None
    return pandas.DataFrame(rows)


def _cells(tag: str, cells: Sequence[object]) -> str:
    texts = ("-" if cell is None else str(cell) for cell in cells)
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
