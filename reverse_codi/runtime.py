"""Ray: joining a cluster or starting one here, and what a recipe would place on it."""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import TYPE_CHECKING

import ray

from reverse_codi.environment import check_ray
from reverse_codi.reward_section import find_functions

if TYPE_CHECKING:
    from reverse_codi.recipe import Recipe


def start_ray() -> None:
    """Join the cluster that the job runs on, or start Ray on this machine.

    Raises:
        MachineError: the cluster does not answer, or Ray cannot start here.
    """
    if ray.is_initialized():
        return
    check_ray()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray runs workers at nice 15; beside a trainer on the same cores they would starve.
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(
        address=os.environ.get("RAY_ADDRESS"),
        include_dashboard=False if "RAY_ADDRESS" not in os.environ else None,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )


def fleeting(out: str) -> str:
    """What to tell a user whose output would go with a Ray job's copy of the working directory; "" if not."""
    here = os.getcwd()
    if "working_dir_files" not in here or os.path.isabs(out):
        return ""
    mend = "give --train.out an absolute path on storage that stays"
    return f"{out} lies in this job's copy of the working directory ({here}), which Ray deletes; {mend}"


def has_vllm() -> bool:
    """Whether vLLM is installed."""
    return importlib.util.find_spec("vllm") is not None


def with_available_engine(recipe: Recipe) -> tuple[Recipe, str]:
    """The recipe with an engine that is installed, and what to tell the user ("" if nothing)."""
    engine = recipe.rollout.engine
    if engine.kind != "vllm" or has_vllm():
        return recipe, ""
    changed = recipe.rollout.model_copy(update={"engine": engine.model_copy(update={"kind": "transformers"})})
    message = "vLLM is not installed: rollouts use the transformers engine (slower, same results)"
    return recipe.model_copy(update={"rollout": changed}), message


def gold_steps(recipe: Recipe) -> str:
    """One line: which parts of a run use gold steps of the task, each with its key."""
    used = []
    if recipe.reading.fit_on == "gold":
        used.append("probes and maps (reading.fit_on)")
    if recipe.warm_start.kind == "gold" and recipe.warm_start.steps:
        some = f" of {recipe.warm_start.problems:,} problems" if recipe.warm_start.problems else ""
        used.append(f"the warm start's texts{some} (warm_start.kind)")
    if recipe.grpo.steps:
        supervised = [function.name for function in find_functions(recipe.reward) if function.supervised]
        used += [f"the reward {name} (reward.functions)" for name in supervised]
        if recipe.grpo.keep == "content":
            used.append("the choice of the checkpoint, held-out ones (grpo.keep)")
    return f"gold steps: {'used for ' + '; '.join(used) if used else 'not used'}"


def placement(recipe: Recipe) -> str:
    """The actors that a run would place, one line a kind."""
    rollout, reward = recipe.rollout, recipe.reward
    names = ", ".join(item.name for item in reward.functions)
    configs = {f.name: getattr(f.function, "config", None) for f in find_functions(reward)}
    # Rewards with an actor of their own say in their config what it takes.
    own = {name: (c.cpus, c.gpus) for name, c in configs.items() if c is not None and hasattr(c, "cpus")}
    cpus = rollout.actors * rollout.cpus + reward.actors * reward.cpus_per_actor
    gpus = rollout.actors * rollout.gpus + reward.actors * reward.gpus_per_actor
    cpus, gpus = cpus + sum(c for c, _ in own.values()), gpus + sum(g for _, g in own.values())
    return "\n".join(
        [
            f"{rollout.actors} rollout actor(s): {rollout.engine.kind}, "
            f"{rollout.cpus:g} CPU, {rollout.gpus:g} GPU each",
            f"{reward.actors} reward actor(s): {names}; "
            f"{reward.cpus_per_actor:g} CPU, {reward.gpus_per_actor:g} GPU each",
            *(f"1 actor of {name}'s own: {c:g} CPU, {g:g} GPU" for name, (c, g) in own.items()),
            f"1 trainer in this process; Ray must offer {cpus:g} CPU and {gpus:g} GPU in all",
        ]
    )
