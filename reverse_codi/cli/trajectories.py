"""Follow the states of a recurrent-depth model as it iterates: fixed point, orbit or drift, token by token.

MODEL is a folder, a hub id (tomg-group-umd/huginn-0125) or a recipe that names one (huginn). One row a token:
class, the numbers that decide it, and what the state would say next after a few iterations (logit lens). DIR
gets trajectories.json, with the lens of every iteration, and a Plotly page a text. See docs/huginn.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.find import recipes
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.utils.arguments import count, positive


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi trajectories", __doc__)
    add = made.add_argument
    add("model", metavar="MODEL", help="folder or hub id in Huginn's layout, or a recipe that names one")
    add("--text", action="append", required=True, help="a text to read; may be given often")
    add("--template", action="store_true", help="control tokens in the texts are tokens (turns of a chat)")
    add("--out", metavar="DIR", required=True, type=Path, help="folder of the table as JSON and of the pages")
    add("--iterations", metavar="N", type=positive, help="of the core block; its training mean if absent")
    add("--seed", metavar="N", type=count, default=0, help="of the initial states")
    add("--answer-tokens", metavar="N", type=count, default=0, help="also go on with each text by N tokens")
    add("--device", help="where the model runs; the recipe's, or cpu, if absent")
    add("--dtype", choices=["float32", "bfloat16"], help="of the weights; as stored if absent")
    add("--axes", type=int, choices=[2, 3], default=3, help="principal axes of the plot")
    add("--no-plot", action="store_true", help="write no page; Plotly is then not needed")
    return made


def named(options: argparse.Namespace) -> argparse.Namespace:
    """The options, with the model and the device that a recipe names."""
    path = Path(options.model)
    if path.suffix == ".yaml" or (options.model in recipes() and not path.exists()):
        section = load_recipe([options.model]).reasoner
        options.model, options.device = section.path, options.device or section.device
    options.device = options.device or "cpu"
    return options


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Follow every text, print the tables, write the files."""
    from reverse_codi.cli.jobs.trajectories import run

    return run(named(options), out)
