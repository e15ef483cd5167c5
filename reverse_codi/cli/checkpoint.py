"""Load the reasoner of a recipe, and say what became of every tensor of its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.schema import load_recipe


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi checkpoint", __doc__, takes_recipe=True)
    made.add_recipe()
    return made


def main(arguments: Sequence[str]) -> None:
    """Load the reasoner and print the report."""
    options, keys = parser().parse_with_keys(arguments)
    section = load_recipe([options.recipe, *keys]).reasoner

    from reverse_codi.reasoners.load import import_report, load_reasoner, reasoner_folder
    from reverse_codi.utils.console import VerbConsole
    from reverse_codi.utils.log import show_log

    console = show_log(VerbConsole(soft_wrap=True))
    folder = reasoner_folder(section)
    report = import_report(folder)
    message = f"{folder} is in the own format" if report is None else str(report)
    console.print(message, markup=False, highlight=False)
    reasoner = load_reasoner(section)
    console.print(
        f"loaded from    {folder}; hash {reasoner.content_hash[:12]}", markup=False, highlight=False
    )
