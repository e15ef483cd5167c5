"""Show what a run's texts were worth while it learnt.

Figures of held-out thoughts after each stage, and within distillations, against the texts that were sampled
and the seconds that the stages took: as a table, and as a page with curves that needs no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reverse_codi.cli.parser import Parser

SHOWN = ("claim", "result", "match", "retrieval")


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi curves", __doc__)
    add = made.add_argument
    add("runs", metavar="RUN", type=Path, nargs="+", help="train.out of a run with stages")
    add("--figures", nargs="+", default=list(SHOWN), help="held-out figures")
    add("--out", metavar="FILE", type=Path, default=Path("curves.html"), help="the page")
    return made


def main(arguments: Sequence[str]) -> None:
    """Write the page and print the table."""
    options = parser().parse_args(arguments)
    from rich.table import Table

    from reverse_codi.training.curves import plot, points
    from reverse_codi.utils.config import UserError
    from reverse_codi.utils.console import VerbConsole
    from reverse_codi.utils.outputs import check_file
    from reverse_codi.utils.pages import write_page

    check_file(options.out, (".html",))
    runs = {str(run): points(run) for run in options.runs}
    known = {name for of_run in runs.values() for point in of_run for name in point.figures}
    if unknown := [name for name in options.figures if name not in known]:
        raise UserError(
            f"no run has the held-out figure {unknown[0]!r}; there are {', '.join(sorted(known))}"
        )
    write_page(options.out, plot(runs, options.figures))
    console = VerbConsole()
    for run, of_run in runs.items():
        table = Table("stage", "step", "texts", "seconds", *options.figures, title=run)
        for point in of_run:
            step = "" if point.step is None else f"{point.step:,}"
            values = [point.figures.get(name) for name in options.figures]
            shown = ["" if value is None else f"{value:.3f}" for value in values]
            table.add_row(point.stage, step, f"{point.texts:,}", f"{point.seconds:,.0f}", *shown)
        console.print(table)
    console.print(f"curves: {options.out}", markup=False)
