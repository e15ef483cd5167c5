"""Load the reasoner of a recipe, and say what became of every tensor of its checkpoint."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.schema import load_recipe


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi checkpoint", __doc__, takes_recipe=True)
    made.add_recipe()
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Load the reasoner and print the report."""
    section = load_recipe([options.recipe, *options.keys]).reasoner

    from reverse_codi.reasoners.load import import_report, load_reasoner, reasoner_folder

    folder = reasoner_folder(section)
    report = import_report(folder)
    message = f"{folder} is in the own format" if report is None else str(report)
    out.show_whole(message)
    reasoner = load_reasoner(section)
    out.show_whole(f"loaded from    {folder}; hash {reasoner.content_hash[:12]}")
    return {
        "folder": str(folder),
        "hash": reasoner.content_hash,
        "report": None if report is None else asdict(report),
    }
