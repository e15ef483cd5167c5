"""List the recipes that come with the package, or print one.

Every verb that takes a RECIPE takes such a name too: `reverse-codi train tiny`.
"""

from __future__ import annotations

from collections.abc import Sequence

from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.find import purpose, recipe_file, recipes
from reverse_codi.utils.text_files import read_text


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi recipes", __doc__)
    made.add_argument("recipe", nargs="?", metavar="RECIPE", help="name or file of the recipe to print")
    return made


def main(arguments: Sequence[str]) -> None:
    """Print names with what they are for, or one recipe as it is."""
    name = parser().parse_args(arguments).recipe
    if name is not None:
        print(read_text(recipe_file(name)).rstrip())
        return
    known = recipes()
    width = max(map(len, known), default=0) + 2
    for name, file in known.items():
        print(f"{name:<{width}}{purpose(file)}".rstrip())
