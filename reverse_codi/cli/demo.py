"""Train and translate with the embedded model, on two CPU cores.

Translates fresh held-out problems with a warm start on few labels, searches, distils and runs five steps of
GRPO with rollout and reward actors in Ray, translates the same problems again, and writes demo.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.schema import load_recipe


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi demo", __doc__, takes_recipe=True)
    add = made.add_argument
    add("--recipe", metavar="RECIPE", default="demo", help="file or name of the recipe")
    add("--out", metavar="DIR", type=Path, default=Path("runs/demo"), help="folder, which is cleared first")
    add("--figures", metavar="FILE", type=Path, default=Path("demo.json"), help="JSON file of the figures")
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Run the demo and write demo.json."""
    recipe = load_recipe([options.recipe, *options.keys])

    from reverse_codi.cli.jobs.demo import demo
    from reverse_codi.processes import ray_session
    from reverse_codi.storage.files import figures_json, write_whole
    from reverse_codi.storage.outputs import check_file, check_folder
    from reverse_codi.training.runtime import placement, with_available_engine

    check_folder(options.out, "--out")
    check_file(options.figures, (".json",))
    recipe = with_available_engine(recipe)
    out.note(placement(recipe))
    with ray_session.ended():
        figures = demo(recipe, options.out, out)
    write_whole(options.figures, figures_json(figures, indent=2) + "\n")
    out.show(figures_json(figures, indent=2))
    return figures
