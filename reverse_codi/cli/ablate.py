"""Train and evaluate the rows of an ablation table: what each choice is worth, held-out.

Each row trains a verbalizer with some keys of the base recipe changed and evaluates it without controls. A
row that says `after: OTHER` takes over the other row's maps, warm start or both. Finished rows are kept, so a
stopped table goes on where it was; `--row NAME` runs some alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.errors import RecipeError
from reverse_codi.utils.arguments import count

if TYPE_CHECKING:
    from rich.text import Text

    from reverse_codi.utils.tables import Table

# Figures beside those with an aim.
ALSO = ("match.whitened", "claims.f1", "claims.unsupported")


def tables(rows: Mapping[str, Mapping[str, Any]]) -> list[Table | Text]:
    """Rows side by side, with half widths of the 95 % intervals, or standard deviations over seeds."""
    from reverse_codi.evaluation.ablation_figures import RUN_FIGURES
    from reverse_codi.evaluation.report import AIMS
    from reverse_codi.utils.tables import side_by_side

    keys = [key for key in (*AIMS, *ALSO, *RUN_FIGURES) if any(key in found for found in rows.values())]
    cells = {name: [_cell(found.get(key)) for key in keys] for name, found in rows.items()}
    return side_by_side(keys, cells, title="ablations")


def _cell(figure: Mapping[str, float] | None) -> str:
    if figure is None or figure["value"] is None:
        return ""
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ±{(figure['high'] - figure['low']) / 2:.3f}"


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi ablate", __doc__)
    add = made.add_argument
    add("ablation", metavar="TABLE", nargs="?", default="ablation", help="file or name; `ablation` if none")
    add("--out", metavar="DIR", type=Path, default=Path("runs/ablation"), help="folder of all rows")
    add("--row", metavar="NAME", action="append", help="run this row alone; may be given often")
    add("--threads", type=count, default=0, help="torch threads; 0 leaves torch's choice")
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Run rows and print the table of all that are finished."""
    import torch

    from reverse_codi.cli.jobs.ablation import check, found, read_ablation, run_row
    from reverse_codi.storage.outputs import check_folder

    ablation = read_ablation(options.ablation)
    if unknown := [name for name in options.row or () if name not in ablation.rows]:
        raise RecipeError(f"no row is named {unknown[0]!r}; there are {', '.join(ablation.rows)}")
    check_folder(options.out, "--out")
    if options.threads:
        torch.set_num_threads(options.threads)
    check(ablation, options.row or list(ablation.rows), options.out)
    for name in options.row or ablation.rows:
        run_row(ablation, name, options.out, out.notes)
    every = {name: found(ablation, name, options.out) for name in ablation.rows}
    rows = {name: figures for name, figures in every.items() if figures is not None}
    out.show(*tables(rows))
    return rows
