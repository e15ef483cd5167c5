"""Go all the way from a base model to translations.

Distillation, accuracy with and without thoughts, traces, maps, warm start, RL, and what fresh held-out
thoughts say before and after it. Called again, it goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence

from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.schema import load_recipe


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi pipeline", __doc__, takes_recipe=True)
    made.add_recipe()
    return made


def main(arguments: Sequence[str]) -> None:
    """Run all stages and write pipeline.json."""
    options, keys = parser().parse_with_keys(arguments)
    recipe = load_recipe([options.recipe, *keys])

    from pathlib import Path

    import ray
    import torch

    from reverse_codi.cli.jobs.pipeline import FIGURES, run
    from reverse_codi.training.runtime import placement, with_available_engine
    from reverse_codi.utils.console import VerbConsole
    from reverse_codi.utils.files import figures_json, write_whole
    from reverse_codi.utils.log import show_log

    console = show_log(VerbConsole())
    recipe = with_available_engine(recipe)
    console.print(placement(recipe), markup=False)
    torch.set_num_threads(recipe.distill.threads or torch.get_num_threads())
    figures = run(recipe, console)
    ray.shutdown()
    file = Path(recipe.train.out) / FIGURES
    write_whole(file, figures_json(figures, indent=1) + "\n")
    console.print_json(figures_json(figures))
    console.print(f"{file}")
