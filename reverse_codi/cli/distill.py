"""Train a reasoner, CODI or Coconut, from a base of written steps.

A run that stopped goes on from its newest checkpoint when the same command is given again.
"""

from __future__ import annotations

import argparse
from typing import Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.processes import stopping
from reverse_codi.recipe.schema import load_recipe


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi distill", __doc__, takes_recipe=True)
    made.add_recipe()
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Train the reasoner of a recipe."""
    recipe = load_recipe([options.recipe, *options.keys])
    stopping.advise("the same command goes on")

    import torch

    from reverse_codi.reasoners.distill.run import distill
    from reverse_codi.training.outputs import DISTILL, kept

    torch.set_num_threads(recipe.distill.threads or torch.get_num_threads())
    with kept(recipe, DISTILL) as recipe:
        reasoner = distill(recipe)
    out.show(f"reasoner: {recipe.distill.out}")
    return {"reasoner": recipe.distill.out, "hash": reasoner.content_hash}
