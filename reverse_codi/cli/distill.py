"""Train a reasoner, CODI or Coconut, from a base of written steps.

A run that stopped goes on from its newest checkpoint when the same command is given again.
"""

from __future__ import annotations

from collections.abc import Sequence

from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.schema import load_recipe


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi distill", __doc__, takes_recipe=True)
    made.add_recipe()
    return made


def main(arguments: Sequence[str]) -> None:
    """Train the reasoner of a recipe."""
    options, keys = parser().parse_with_keys(arguments)
    recipe = load_recipe([options.recipe, *keys])

    import torch

    from reverse_codi.reasoners.distill.run import distill
    from reverse_codi.utils.console import VerbConsole
    from reverse_codi.utils.log import show_log

    torch.set_num_threads(recipe.distill.threads or torch.get_num_threads())
    show_log(VerbConsole())
    distill(recipe)
