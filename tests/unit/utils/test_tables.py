"""Tables of 80 columns: what is broken where, and how many stand side by side."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from reverse_codi.utils.tables import SIDE_BY_SIDE, Table, side_by_side
from tests.fakes import lines_of

LONG = "I do not know (8 of 64 wrong thoughts fit it as well as the text): 48 + 12 = 60. 60 + 3 = 63."


def test_columns_are_as_wide_as_their_cells_and_figures_end_together() -> None:
    table = Table("stage", "seconds", title="time")
    table.add_row("1. trace", "5")
    table.add_row("2. train", "1,204")
    assert lines_of(table) == [
        "",
        "time",
        "stage     seconds",
        "────────  ───────",
        "1. trace        5",
        "2. train    1,204",
    ]


def test_a_text_goes_on_between_words_and_nothing_else_does() -> None:
    table = Table("thought", "translation", "match [95 %]", texts=["translation"])
    table.add_row("h0", LONG, "0.982 [0.972, 0.988]")
    shown = lines_of(table)[3:]
    assert all(len(line) <= 80 for line in shown) and len(shown) == 2
    assert " ".join(line[9:].split("  ")[0].strip() for line in shown) == LONG
    assert shown[0].endswith("  0.982 [0.972, 0.988]") and table.fits()


def test_a_header_that_is_wider_than_its_figures_goes_on_between_words() -> None:
    table = Table("process", "most of its resident memory", "its proportional share", texts=["process"])
    table.add_row("ray::RolloutActor of the first node of two, which has the GPUs", "1.5", "0.5")
    assert all(len(line) <= 80 for line in lines_of(table)) and table.fits()
    words = " ".join(lines_of(table)).split()
    assert {"most", "resident", "memory", "proportional", "share"} <= set(words)
    assert table.widths(80)[1:] == [len("resident"), len("proportional")]


def test_what_is_long_and_has_no_spaces_is_broken_in_a_column_of_texts_alone() -> None:
    table = Table("file", "rows", texts=["file"])
    table.add_row("runs/" + "a" * 100, "3")
    assert all(len(line) <= 80 for line in lines_of(table)) and table.fits()
    table = Table("file", "rows")
    table.add_row("runs/" + "a" * 100, "3")
    assert not table.fits()


def test_a_cell_is_no_markup() -> None:
    table = Table("text", texts=["text"])
    table.add_row("[red]1 + 1 = 2[/red] :smile:")
    assert lines_of(table)[-1] == "[red]1 + 1 = 2[/red] :smile:"


def test_four_stand_side_by_side_and_the_others_below() -> None:
    writers = {f"row-{i}": ["0.900 ±0.020", ""] for i in range(6)}
    first, second = side_by_side(["retrieval.top1_64", "operands"], writers, title="ablations")
    assert isinstance(first, Table) and isinstance(second, Table)
    assert first.columns == ["figure", "row-0", "row-1", "row-2", "row-3"] and first.title == "ablations"
    assert second.columns == ["figure", "row-4", "row-5"] and second.title == ""
    assert len(first.columns) - 1 == SIDE_BY_SIDE and first.fits() and second.fits()
    assert lines_of(first)[-2].split() == ["retrieval.top1_64", *["0.900", "±0.020"] * 4]


def test_fewer_stand_side_by_side_where_they_are_wide() -> None:
    shown = side_by_side(["match"], {f"row-{i}": ["0.982 [0.972, 0.988] of 1,000"] for i in range(4)})
    assert [len(table.columns) - 1 for table in shown if isinstance(table, Table)] == [2, 2]


def test_a_path_is_a_number_in_the_header() -> None:
    paths = [f"runs/{'a' * 30}/evaluation-{i}" for i in range(2)]
    *legend, table = side_by_side(["match"], {path: ["0.1"] for path in paths})
    assert [str(line) for line in legend] == [f"[1] {paths[0]}", f"[2] {paths[1]}"]
    assert isinstance(table, Table) and table.columns == ["figure", "[1]", "[2]"]
    assert all(isinstance(line, Text) for line in legend)


@pytest.mark.parametrize("width", [40, 60, 200])
def test_another_width_than_80(width: int) -> None:
    table = Table("thought", "translation", texts=["translation"])
    table.add_row("h0", LONG)
    assert max(map(len, lines_of(table, width=width))) <= width


def test_a_terminal_without_unicode_gets_a_rule_of_hyphens() -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii"), width=80)
    table = Table("site")
    table.add_row("h0")
    console.print(table)
    console.file.flush()
    assert raw.getvalue() == b"site\n----\nh0\n"
