"""`reverse-codi checkpoint RECIPE [--reasoner.path ID ...]`: load, print the report."""

from __future__ import annotations

import sys

from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.load import import_report, load_reasoner, reasoner_folder
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.utils.config import run_verb
from reverse_codi.utils.console import VerbConsole


def main(arguments: list[str] | None = None) -> None:
    """Load the reasoner of a recipe and say what became of its checkpoint."""
    section = load_recipe(sys.argv[1:] if arguments is None else arguments).reasoner
    console = VerbConsole(soft_wrap=True)
    try:
        folder = reasoner_folder(section)
        report = import_report(folder)
        message = f"{folder} is in the own format" if report is None else str(report)
        console.print(message, markup=False, highlight=False)
        reasoner = load_reasoner(section)
    except CheckpointError as error:
        raise SystemExit(f"error: {error}") from None
    console.print(
        f"loaded from    {folder}; hash {reasoner.content_hash[:12]}", markup=False, highlight=False
    )


if __name__ == "__main__":
    run_verb(main)
