"""Train and translate with the embedded model, on two CPU cores.

Translates fresh held-out problems with the embedded warm start, runs GRPO with rollout and reward actors in
Ray, translates the same problems again, and writes demo.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.schema import load_recipe


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi demo", __doc__, takes_recipe=True)
    add = made.add_argument
    add("--recipe", metavar="RECIPE", default="demo", help="file or name of the recipe")
    add("--out", metavar="DIR", type=Path, default=Path("runs/demo"), help="folder, which is cleared first")
    add("--json", metavar="FILE", type=Path, default=Path("demo.json"), help="file of the figures")
    return made


def main(arguments: Sequence[str]) -> None:
    """Run the demo and write demo.json."""
    options, keys = parser().parse_with_keys(arguments)
    recipe = load_recipe([options.recipe, *keys])

    import ray

    from reverse_codi.cli.jobs.demo import demo
    from reverse_codi.training.runtime import placement, with_available_engine
    from reverse_codi.utils.console import VerbConsole
    from reverse_codi.utils.files import figures_json, write_whole
    from reverse_codi.utils.log import show_log
    from reverse_codi.utils.outputs import check_file, check_folder

    console = show_log(VerbConsole())
    check_folder(options.out, "--out")
    check_file(options.json, (".json",))
    recipe = with_available_engine(recipe)
    console.print(placement(recipe), markup=False)
    figures = demo(recipe, options.out, console)
    ray.shutdown()
    write_whole(options.json, figures_json(figures, indent=2) + "\n")
    console.print_json(figures_json(figures))
