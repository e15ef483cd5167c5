"""Go all the way from a base model to translations.

Distillation, accuracy with and without thoughts, traces, maps, warm start, RL, and what fresh held-out
thoughts say before and after it. Called again, it goes on where it stopped.
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
    made = Parser("reverse-codi pipeline", __doc__, takes_recipe=True)
    made.add_recipe()
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Run all stages and write pipeline.json."""
    recipe = load_recipe([options.recipe, *options.keys])
    stopping.advise("the same command goes on")

    from pathlib import Path

    import torch

    from reverse_codi.cli.jobs.pipeline import FIGURES, run
    from reverse_codi.processes import ray_session
    from reverse_codi.storage.files import figures_json, write_whole
    from reverse_codi.training.outputs import OUTPUTS, kept
    from reverse_codi.training.runtime import placement, with_available_engine

    recipe = with_available_engine(recipe)
    out.note(placement(recipe))
    torch.set_num_threads(recipe.distill.threads or torch.get_num_threads())
    with kept(recipe, *OUTPUTS) as recipe:
        with ray_session.ended():
            figures = run(recipe, out)
        file = Path(recipe.train.out) / FIGURES
        write_whole(file, figures_json(figures, indent=1) + "\n")
    out.show(figures_json(figures, indent=2), f"{file}")
    return figures
