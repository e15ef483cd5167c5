"""Find whether one verbalizer is better than another.

Both are folders of `reverse-codi evaluate` on the same thoughts. Intervals of two tables may overlap where
the difference is no chance, since most of their spread is the problems': here each thought is its own
control.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser

if TYPE_CHECKING:
    from rich.text import Text

    from reverse_codi.utils.figures import Figures
    from reverse_codi.utils.tables import Table


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi paired", __doc__)
    made.add_argument("before", metavar="BEFORE", type=Path, help="folder of an evaluation")
    made.add_argument(
        "after", metavar="AFTER", type=Path, nargs="+", help="folders of others on the same thoughts"
    )
    return made


def tables(before: Path, found: Mapping[str, Figures]) -> list[Table | Text]:
    """The changes of the others, side by side."""
    from reverse_codi.utils.tables import side_by_side

    cells = {name: [str(figure) for figure in of.values()] for name, of in found.items()}
    title = f"minus {before} [95 %, paired by problem]"
    return side_by_side(list(next(iter(found.values()))), cells, title=title)


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Compare and print."""
    from reverse_codi.evaluation.paired import changes, texts_of
    from reverse_codi.evaluation.report import flat

    before = texts_of(options.before)
    texts = {str(folder): texts_of(folder) for folder in options.after}
    found = {name: changes(before, after) for name, after in texts.items()}
    out.show(*tables(options.before, found))
    for name, after in texts.items():
        if all(one["text"] == other["text"] for one, other in zip(before, after, strict=True)):
            out.show(f"{name}: every text is the same as in {options.before}")
    return {name: flat(of, {}) for name, of in found.items()}
