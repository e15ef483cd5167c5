"""Run a recipe for a public checkpoint at its true size, without the checkpoint.

Random weights in the public files' layout are written, and every stage of the recipe runs on them with
smaller counts: load, trace, reading, warm start, GRPO, verbalize, evaluate. Seconds and peak memory of each
stage and process are printed, and how much longer the recipe's own counts would take. What such a model says
means nothing.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from reverse_codi.cli.output import Output, verb
from reverse_codi.cli.parser import Parser
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.utils.arguments import count, positive


def parser() -> Parser:
    """The options of the verb."""
    made = Parser("reverse-codi true-size", __doc__, takes_recipe=True)
    made.add_recipe()
    add = made.add_argument
    add("--data", metavar="PATH", type=Path, help="a JSON lines file of GSM8K's rows; generated ones if none")
    add("--device", choices=["cpu", "cuda"], default="cpu", help="of every process that computes")
    add("--layers", metavar="N", type=positive, help="fewer layers, at full width and vocabulary")
    add("--out", metavar="DIR", type=Path, help="folder for everything; runs/true-size/RECIPE if none")
    add("--random-seed", metavar="S", type=count, default=0, help="of the weights and of what is planted")
    add("--write", metavar="N", type=positive, default=16, help="questions that the model solves in writing")
    return made


@verb(parser)
def main(options: argparse.Namespace, output: Output) -> Any:
    """Run all stages, print the tables and write true_size.json."""
    words = options.keys
    asked = load_recipe([options.recipe])

    from reverse_codi.cli.jobs.true_size import RESULT, Key, Part, as_record, in_own_process, run_all, shown
    from reverse_codi.evaluation.true_size import generated_rows, layout_of, overrides, plant, write_model
    from reverse_codi.storage.files import figures_json, write_whole
    from reverse_codi.storage.outputs import check_folder

    layout_of(asked)
    out = options.out or Path("runs/true-size") / Path(options.recipe).stem
    check_folder(out, "--out")
    data = options.data or generated_rows(out / "data")
    written = in_own_process(write_model, asked, data, out / "hub", options.layers, options.random_seed)
    given = dict(zip(words[::2], words[1::2], strict=True))
    made = overrides(asked, out, data, written, options.device)
    keys = [Key(*row) for row in made if f"--{row[0]}" not in given]
    keys += [Key(name[2:], value, "given on the command line") for name, value in given.items()]
    for key in keys:
        output.note(f"{key.name} = {key.value}: {key.why}")
    planted = partial(plant, seed=options.random_seed)
    parts: list[Part] = []
    try:
        parts.extend(run_all(options.recipe, keys, planted, options.write, output))
    finally:  # what was measured before a stage failed
        if parts:
            output.show(*shown(parts))
            write_whole(out / RESULT, figures_json(as_record(parts, keys), indent=1) + "\n")
    output.show(f"{out / RESULT}")
    return as_record(parts, keys)
