"""Train a verbalizer: traces, probes and maps, the warm start, then GRPO.

A run writes everything into the folder `train.out`, and ends with a verbalizer in `train.out`/verbalizer.
"""

from __future__ import annotations

from collections.abc import Sequence

from reverse_codi.cli.parser import Parser
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


def main(arguments: Sequence[str]) -> None:
    """Train, or say with `--dry-run` what would be done, or why it would be refused."""
    options, keys = parser().parse_with_keys(arguments)
    recipe = load_recipe([options.recipe, *keys])

    import ray
    import yaml

    from reverse_codi.reasoners.load import refuse_recurrent_depth
    from reverse_codi.train import train
    from reverse_codi.training.plan_check import check_plan, planned_run
    from reverse_codi.training.plan_table import summary, table
    from reverse_codi.training.preflight import check_actors
    from reverse_codi.training.run_folder import check
    from reverse_codi.training.runtime import fleeting, gold_steps, placement, with_available_engine
    from reverse_codi.utils.console import VerbConsole
    from reverse_codi.utils.log import show_log
    from reverse_codi.utils.memory import machine

    refuse_recurrent_depth(recipe.reasoner)  # before a long recipe is printed
    console = show_log(VerbConsole())
    recipe = with_available_engine(recipe)
    if line := fleeting(recipe.train.out):
        console.print(f"[yellow]{line}[/yellow]")
    if options.dry_run:
        console.print(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), markup=False)
        console.print(placement(recipe), markup=False)
        console.print("\n".join(stage.plan for stage in recipe.stages), markup=False)
        console.print(gold_steps(recipe))
        check(recipe, options.resume, fetch=False)
        # Before the machine is looked at: one without the GPUs of a run shows what they would hold.
        if (planned := planned_run(recipe)) is None:
            later = f"memory: {recipe.reasoner.path} is not here; its plan comes once it is"
            console.print(later, markup=False)
        else:
            console.print(table(planned))
            console.print(summary(planned, machine()), markup=False)
        check_actors(recipe)
        if planned is not None:
            check_plan(planned)
        return
    folder = train(recipe, options.resume)
    console.print(f"verbalizer: {folder}")
    ray.shutdown()
