"""Ray: joining a cluster or starting one here, and what a recipe would place on it."""

from __future__ import annotations

import importlib.util
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import ray
import torch

from reverse_codi.recipe.reward import RewardSection
from reverse_codi.rewards.registry import find_functions
from reverse_codi.utils import ray_session, stopping
from reverse_codi.utils.environment import ADDRESS, check_ray, running_cluster

if TYPE_CHECKING:
    from reverse_codi.recipe.schema import Recipe

log = logging.getLogger(__name__)


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
    joining = joins_cluster()
    context: Any = ray.init(
        address=os.environ.get("RAY_ADDRESS"),
        include_dashboard=False if "RAY_ADDRESS" not in os.environ else None,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    stopping.listen_again()
    if joining:
        ray_session.joined()
    else:
        ray_session.started(context.address_info)


def fleeting(out: str) -> str:
    """What to tell a user whose output would go with a Ray job's copy of the working directory; "" if not."""
    here = os.getcwd()
    if "working_dir_files" not in here or os.path.isabs(out):
        return ""
    fix = "give --train.out an absolute path on storage that stays"
    return f"{out} lies in this job's copy of the working directory ({here}), which Ray deletes; {fix}"


def has_vllm() -> bool:
    """Whether vLLM is installed."""
    return importlib.util.find_spec("vllm") is not None


def with_available_engine(recipe: Recipe) -> Recipe:
    """The recipe with an engine that is installed; a change is logged."""
    engine = recipe.rollout.engine
    if engine.kind != "vllm" or has_vllm():
        return recipe
    log.warning("vLLM is not installed: rollouts use the transformers engine (slower, same results)")
    changed = recipe.rollout.model_copy(update={"engine": engine.model_copy(update={"kind": "transformers"})})
    return recipe.model_copy(update={"rollout": changed})


def gold_steps(recipe: Recipe) -> str:
    """One line: which parts of a run use gold steps of the task, each with its key."""
    used = []
    if recipe.reading.fit_on == "gold":
        used.append("probes and maps (reading.fit_on)")
    if recipe.warm_start.kind == "shuffled" and recipe.warm_start.steps:
        used.append("the warm start's texts, dealt out to thoughts at random (warm_start.kind)")
    if recipe.warm_start.kind == "gold" and recipe.warm_start.steps:
        some = f" of {recipe.warm_start.problems:,} problems" if recipe.warm_start.problems else ""
        used.append(f"the warm start's texts{some} (warm_start.kind)")
    if recipe.stages:
        supervised = [function.name for function in find_functions(recipe.reward) if function.supervised]
        used += [f"the reward {name} (reward.functions)" for name in supervised]
        if recipe.grpo.keep == "content":
            used.append("the choice of the checkpoint, held-out ones (grpo.keep)")
    return f"gold steps: {'used for ' + '; '.join(used) if used else 'not used'}"


@dataclass(frozen=True)
class Resources:
    """CPUs and GPUs that are asked for, or offered."""

    cpus: float
    gpus: float


@runtime_checkable
class AsksForActor(Protocol):
    """The config of a reward that runs in an actor of its own: what it asks Ray for."""

    cpus: float
    gpus: float


def own_reward_configs(reward: RewardSection) -> dict[str, AsksForActor]:
    """The configs of rewards with an actor of their own, by the rewards' names."""
    configs = {f.name: getattr(f.function, "config", None) for f in find_functions(reward)}
    return {name: config for name, config in configs.items() if isinstance(config, AsksForActor)}


def own_actors(reward: RewardSection) -> dict[str, Resources]:
    """Rewards with an actor of their own, which say in their config what it takes."""
    return {name: Resources(c.cpus, c.gpus) for name, c in own_reward_configs(reward).items()}


def demanded(recipe: Recipe) -> Resources:
    """What all actors of a run ask Ray for."""
    rollout, reward = recipe.rollout, recipe.reward
    own = own_actors(reward).values()
    cpus = rollout.actors * rollout.cpus + reward.actors * reward.cpus_per_actor
    gpus = rollout.actors * rollout.gpus + reward.actors * reward.gpus_per_actor
    return Resources(cpus + sum(share.cpus for share in own), gpus + sum(share.gpus for share in own))


def offered() -> Resources | None:
    """What Ray has, or would have if it started on this machine; None where a run would join a cluster."""
    if ray.is_initialized():
        total = ray.cluster_resources()
        return Resources(total.get("CPU", 0.0), total.get("GPU", 0.0))
    if joins_cluster():
        return None
    return Resources(float(os.cpu_count() or 1), float(torch.cuda.device_count()))


def joins_cluster() -> bool:
    """Whether `ray.init` would join a cluster: one that is named, or that `ray start` began here."""
    address = os.environ.get(ADDRESS, "").strip()
    return address != "local" and (bool(address) or running_cluster() is not None)


def placement(recipe: Recipe) -> str:
    """The actors that a run would place, one line a kind."""
    rollout, reward = recipe.rollout, recipe.reward
    names = ", ".join(item.written for item in reward.functions)
    total = demanded(recipe)
    return "\n".join(
        [
            f"{rollout.actors} rollout actor(s): {rollout.engine.kind}, "
            f"{rollout.cpus:g} CPU, {rollout.gpus:g} GPU each",
            f"{reward.actors} reward actor(s): {names}; "
            f"{reward.cpus_per_actor:g} CPU, {reward.gpus_per_actor:g} GPU each",
            *(
                f"1 actor of {name}'s own: {share.cpus:g} CPU, {share.gpus:g} GPU"
                for name, share in own_actors(reward).items()
            ),
            f"1 trainer in this process; Ray must offer {total.cpus:g} CPU and {total.gpus:g} GPU in all",
        ]
    )
