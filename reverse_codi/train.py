"""The method: reinforcement learning that turns the thoughts of a latent reasoning model into text.

    question ──> frozen reasoner ──> thoughts z1 .. zK ──> answer             collect_traces
                                         │
                                         v  z1, a vector
                                     verbalizer <─────────────────┐           warm_start
                                         │                        │
                                         v  "12 + 5 = 17."        │ GRPO      reinforce
                           frozen reasoner reads the text         │
                                         │                        │
                                         v  hidden state          │
                                    affine map                    │           fit_reading
                                         │                        │
                                         v  predicted z1          │
                             reward: is it close to z1? ──────────┘

The verbalizer is the reasoner's own language model with a LoRA; a thought enters its prompt as a vector.
The warm start teaches it to write steps; reinforcement learning teaches it to write what the thought encodes.

Run it by `reverse-codi train RECIPE [--dry-run] [--resume] [--section.key value ...]`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ray
import torch
import yaml

from reverse_codi.reasoners.load import refuse_recurrent_depth
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.training.learning_signal import check_thoughts
from reverse_codi.training.prepare import collect_traces, fit_reading
from reverse_codi.training.reinforce import reinforce
from reverse_codi.training.run_folder import RunFolder, check
from reverse_codi.training.runtime import fleeting, gold_steps, placement, with_available_engine
from reverse_codi.training.warm_start import warm_start
from reverse_codi.utils.config import run_verb
from reverse_codi.utils.console import VerbConsole
from reverse_codi.utils.log import show_log


def train(recipe: Recipe, resume: bool = False) -> Path:
    """Run the whole method; what goes on is logged.

    All that can be refused before work is refused before anything is written. `recipe.yaml` in the run's
    folder is the last recipe that was not refused: an older one there is replaced when traces, maps and warm
    start have taken the new one.

    Args:
        recipe: of the run; all is written to `train.out` and, the traces, to `trace.out`.
        resume: go on from the last checkpoint in `train.out`.

    Returns:
        The folder of the finished verbalizer, `train.out`/verbalizer.

    Raises:
        UserError: what would fail, see `training.preflight.check` and `training.resuming.start_of`; or steps
            that teach nothing.
    """
    run = RunFolder.begin(recipe, resume)
    traces = collect_traces(recipe)
    prepared = fit_reading(recipe, traces, run.reading)
    check_thoughts(recipe, prepared)
    policy = warm_start(recipe, prepared, run.path)
    run.write_recipe(recipe)
    if recipe.grpo.steps:
        reinforce(recipe, prepared, policy, run)
    return run.save(recipe, run.best if recipe.grpo.steps else run.warm, prepared.folder)


def main(arguments: list[str] | None = None) -> None:
    """Parse the recipe and train, or say with `--dry-run` what would be done, or why it would be refused."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    dry_run, resume = "--dry-run" in words, "--resume" in words
    recipe = load_recipe([word for word in words if word not in ("--dry-run", "--resume")])
    refuse_recurrent_depth(recipe.reasoner)
    console = show_log(VerbConsole())
    recipe, message = with_available_engine(recipe)
    for line in filter(None, (message, fleeting(recipe.train.out))):
        console.print(f"[yellow]{line}[/yellow]")
    if dry_run:
        console.print(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), markup=False)
        console.print(placement(recipe), markup=False)
        console.print(gold_steps(recipe))
        check(recipe, resume, fetch=False)
        return
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    folder = train(recipe, resume)
    console.print(f"verbalizer: {folder}")
    ray.shutdown()


if __name__ == "__main__":
    run_verb(main)
