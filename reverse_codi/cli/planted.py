"""Plant thoughts of known content, and see whether preparation finds it.

A planted thought is a fixed random map of the states that a text leaves in the recipe's reasoner, and noise.
Sites hold in turn a step, nothing, a result alone, two steps. Probes and maps are fitted as a training run
fits them. Where they find what was planted and nothing in a real model's thoughts, the thoughts are empty;
where they miss it here too, the reading is what fails.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.utils.arguments import count, positive, size

if TYPE_CHECKING:
    from reverse_codi.evaluation.planted import PlantedRow
    from reverse_codi.utils.tables import Table


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi planted", __doc__, takes_recipe=True)
    made.add_recipe()
    made.add_argument("--n", type=positive, default=5_000, help="training problems")
    made.add_argument("--n-heldout", type=positive, default=700, help="held-out problems")
    made.add_argument(
        "--noise", type=size, default=0.5, help="size of the noise; that of the planted states is 1"
    )
    made.add_argument("--seed", type=count, default=0, help="of the map that plants and of the noise")
    made.add_argument(
        "--random-weights",
        metavar="LAYERS",
        type=positive,
        help="random weights in the files of the recipe's public checkpoint, of so many layers, at its width",
    )
    made.add_argument("--out", metavar="DIR", type=Path, default=Path("runs/planted"), help="a new folder")
    return made


def table(rows: Sequence[PlantedRow]) -> Table:
    """A line a site."""
    from reverse_codi.utils.tables import Table

    made = Table("site", "planted", "found again", "retrieval", "optimum", "match", texts=["planted"])
    for row in rows:
        figures = (row.held, row.retrieval, row.optimum, row.match)
        shown = ("" if figure is None else f"{figure:.3f}" for figure in figures)
        made.add_row(str(row.site), str(row.plant), *shown)
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Plant, prepare, print the table."""
    recipe = load_recipe([options.recipe, *options.keys])

    from reverse_codi.evaluation.planted import plant, problems_of, recovered
    from reverse_codi.evaluation.true_size import with_random_weights
    from reverse_codi.reasoners.load import load_reasoner
    from reverse_codi.storage.outputs import check_folder

    check_folder(options.out, "--out")
    problems = problems_of(recipe, options.n, options.n_heldout)
    if options.random_weights:
        recipe = with_random_weights(
            recipe, problems[0], options.out / "model", options.random_weights, options.seed
        )
    reasoner = load_reasoner(recipe.reasoner)
    planted = plant(recipe, reasoner, problems, options.out, options.noise, options.seed)
    rows = recovered(recipe, reasoner, planted, options.out / "reading")
    out.show(table(rows))
    return [{**vars(row), "site": str(row.site), "plant": str(row.plant)} for row in rows]
