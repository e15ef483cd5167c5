"""Train a verbalizer: traces, probes and maps, the warm start, then search, distil or GRPO.

A run writes everything into the folder `train.out`, and ends with a verbalizer in `train.out`/verbalizer.
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
    made = Parser("reverse-codi train", __doc__, takes_recipe=True)
    made.add_recipe()
    made.add_argument(
        "--dry-run",
        action="store_true",
        help="print the resolved recipe, or why it would be refused, and do nothing",
    )
    made.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in train.out")
    return made


@verb(parser)
def main(options: argparse.Namespace, out: Output) -> Any:
    """Train, or say with `--dry-run` what would be done, or why it would be refused."""
    recipe = load_recipe([options.recipe, *options.keys])
    stopping.advise("go on with --resume")

    import yaml

    from reverse_codi.processes import ray_session
    from reverse_codi.processes.memory import machine
    from reverse_codi.reasoners.load import refuse_recurrent_depth
    from reverse_codi.train import train
    from reverse_codi.training.outputs import TRACE, TRAIN, settled
    from reverse_codi.training.plan_check import check_plan, planned_run
    from reverse_codi.training.plan_table import plan_record, summary, tables
    from reverse_codi.training.preflight import check_actors
    from reverse_codi.training.run_folder import check
    from reverse_codi.training.runtime import gold_steps, placement, with_available_engine

    refuse_recurrent_depth(recipe.reasoner)  # before a long recipe is printed
    recipe = with_available_engine(recipe)
    if options.dry_run:
        recipe, _ = settled(recipe, TRACE, TRAIN)
        resolved, stages = recipe.model_dump(mode="json"), [stage.plan for stage in recipe.stages]
        out.show_whole(yaml.safe_dump(resolved, sort_keys=False))
        out.show(placement(recipe), *stages, gold_steps(recipe))
        check(recipe, options.resume, fetch=False)
        # Before the machine is looked at: one without the GPUs of a run shows what they would hold.
        if (planned := planned_run(recipe)) is None:
            out.show(f"memory: {recipe.reasoner.path} is not here; its plan comes once it is")
        else:
            out.show(*tables(planned), summary(planned, machine()))
        check_actors(recipe)
        if planned is not None:
            check_plan(planned)
        return {
            "recipe": resolved,
            "placement": placement(recipe).splitlines(),
            "stages": stages,
            "gold_steps": gold_steps(recipe),
            "memory": None if planned is None else plan_record(planned),
        }
    with ray_session.ended():
        folder = train(recipe, options.resume)
        out.show(f"verbalizer: {folder}")
    return {"verbalizer": str(folder)}
