"""Find whether one verbalizer is better than another.

Both are folders of `reverse-codi evaluate` on the same thoughts. Intervals of two tables may overlap where
the difference is no chance, since most of their spread is the problems': here each thought is its own
control.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reverse_codi.cli.parser import Parser


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi paired", __doc__)
    made.add_argument("before", metavar="BEFORE", type=Path, help="folder of an evaluation")
    made.add_argument(
        "after", metavar="AFTER", type=Path, nargs="+", help="folders of others on the same thoughts"
    )
    return made


def main(arguments: Sequence[str]) -> None:
    """Compare and print."""
    options = parser().parse_args(arguments)
    from rich.table import Table

    from reverse_codi.evaluation.paired import changes, texts_of
    from reverse_codi.utils.console import VerbConsole

    before = texts_of(options.before)
    texts = {str(folder): texts_of(folder) for folder in options.after}
    found = {name: changes(before, after) for name, after in texts.items()}
    table = Table(title=f"minus {options.before} [95 %, paired by problem]")
    for name in ("", *next(iter(found.values()))):
        table.add_column(name, overflow="fold")
    for name, of_folder in found.items():
        table.add_row(name, *map(str, of_folder.values()))
    console = VerbConsole()
    console.print(table)
    for name, after in texts.items():
        if all(one["text"] == other["text"] for one, other in zip(before, after, strict=True)):
            console.print(f"{name}: every text is the same as in {options.before}", markup=False)
