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

Run it with `reverse-codi train RECIPE`.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from reverse_codi.processes.watchdog import stalls_ended
from reverse_codi.processes.workers import n_workers
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.mirrors import push_all
from reverse_codi.training.learning_signal import check_thoughts
from reverse_codi.training.outputs import TRACE, TRAIN, keeping
from reverse_codi.training.plan import FINISHING
from reverse_codi.training.prepare import collect_traces, fit_reading
from reverse_codi.training.reinforce import reinforce
from reverse_codi.training.run_folder import RunFolder
from reverse_codi.training.runtime import with_available_engine
from reverse_codi.training.several_workers import on_workers
from reverse_codi.training.warm_start import warm_start


@keeping(TRACE, TRAIN)
def train(recipe: Recipe, resume: bool = False) -> Path:
    """Run the whole method; what goes on is logged.

    All that can be refused before work is refused before anything is written. `recipe.yaml` in the run's
    folder is the last recipe that was not refused: an older one there is replaced when traces, maps and warm
    start have taken the new one.

    Args:
        recipe: of the run; all is written to `train.out` and, the traces, to `trace.out`. Each may
            be a URL of fsspec: then it is brought here, and sent there after each stage and checkpoint.
        resume: go on from the last checkpoint in `train.out`.

    Returns:
        The folder of the finished verbalizer, `train.out`/verbalizer; of a URL, the one here.

    Raises:
        UserError: what would fail, see `training.preflight.check` and `training.resuming.start_of`; or steps
            that teach nothing.
        StopAsked: a signal asked for the end.
    """
    recipe = with_available_engine(recipe)
    if recipe.train.workers > n_workers():  # each of them comes here again
        return on_workers(recipe, resume, train)
    with (
        RunFolder.begun(recipe, resume) as run,
        stalls_ended(recipe.train.stall_s, run.path),
    ):
        with run.memory.stage("traces"):
            traces = collect_traces(recipe)
        with run.memory.stage("reading"):
            prepared = fit_reading(recipe, traces, run.reading)
        check_thoughts(recipe, prepared)
        with run.memory.stage("warm start"):
            policy = warm_start(recipe, prepared, run.path)
        run.write_recipe(recipe)
        push_all()
        if recipe.stages:
            reinforce(recipe, prepared, policy, run)
        with run.memory.stage(FINISHING):
            return run.save(recipe, prepared)


if __name__ == "__main__":  # `python -m reverse_codi.train ...` is `reverse-codi train ...`, run by its name
    sys.argv[1:1] = ["train"]
    runpy.run_module("reverse_codi.cli", run_name="__main__")
