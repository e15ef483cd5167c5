"""Show what a run's texts were worth while it learnt.

Figures of held-out thoughts after each stage, and within distillations, against the texts that were sampled
and the seconds that the stages took: as a table, and as a page with curves that needs no network.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser

if TYPE_CHECKING:
    from reverse_codi.training.curves import Point
    from reverse_codi.utils.tables import Table

SHOWN = ("claim", "result", "match", "retrieval")


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi curves", __doc__)
    add = made.add_argument
    add("runs", metavar="RUN", type=Path, nargs="+", help="train.out of a run with stages")
    add("--figures", nargs="+", default=list(SHOWN), help="held-out figures")
    add("--out", metavar="FILE", type=Path, default=Path("curves.html"), help="the page")
    return made


def tables(title: str, of_run: Sequence[Point], figures: Sequence[str]) -> list[Table]:
    """A line a point; four figures at most in one table."""
    from reverse_codi.utils.tables import SIDE_BY_SIDE, Table

    made = []
    for start in range(0, len(figures), SIDE_BY_SIDE):
        part = figures[start : start + SIDE_BY_SIDE]
        table = Table("stage", "step", "texts", "seconds", *part, title="" if start else title)
        for point in of_run:
            step = "" if point.step is None else f"{point.step:,}"
            values = [point.figures.get(name) for name in part]
            shown = ["" if value is None else f"{value:.3f}" for value in values]
            seconds = "" if point.seconds is None else f"{point.seconds:,.0f}"
            table.add_row(point.stage, step, f"{point.texts:,}", seconds, *shown)
        made.append(table)
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Write the page and print the table."""
    from reverse_codi.errors import UserError
    from reverse_codi.storage.outputs import check_file
    from reverse_codi.training.curves import plot, points
    from reverse_codi.utils.pages import write_page

    check_file(options.out, (".html",))
    runs = {str(run): points(run) for run in options.runs}
    known = {name for of_run in runs.values() for point in of_run for name in point.figures}
    if unknown := [name for name in options.figures if name not in known]:
        raise UserError(
            f"no run has the held-out figure {unknown[0]!r}; there are {', '.join(sorted(known))}"
        )
    write_page(options.out, plot(runs, options.figures))
    for run, of_run in runs.items():
        out.show(*tables(run, of_run, options.figures))
    out.show(f"curves: {options.out}")
    return {run: [asdict(point) for point in of_run] for run, of_run in runs.items()}
