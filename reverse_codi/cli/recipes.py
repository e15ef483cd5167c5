"""List the recipes that come with the package, or print one.

Every verb that takes a RECIPE takes such a name too: `reverse-codi train tiny`.
"""

from __future__ import annotations

import argparse
from typing import Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.find import purpose, recipe_file, recipes
from reverse_codi.storage.text_files import read_text
from reverse_codi.utils.config import read_yaml


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi recipes", __doc__)
    made.add_argument("recipe", nargs="?", metavar="RECIPE", help="name or file of the recipe to print")
    return made


def list_recipes(out: Output) -> dict[str, str]:
    """Print the names with what they are for."""
    from reverse_codi.utils.tables import Table

    purposes = {name: purpose(file) for name, file in recipes().items()}
    table = Table("recipe", "what it is for", texts=["what it is for"])
    for row in purposes.items():
        table.add_row(*row)
    out.show(table)
    return purposes


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Print names with what they are for, or one recipe as it is."""
    if options.recipe is not None:
        file = recipe_file(options.recipe)
        out.show_whole(read_text(file).rstrip())
        return read_yaml(file)
    return list_recipes(out)
