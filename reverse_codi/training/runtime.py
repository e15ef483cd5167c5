"""Ray: joining a cluster or starting one here, and what a recipe would place on it."""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import ray
import torch

from reverse_codi.errors import blamed_on
from reverse_codi.processes import ray_session, stopping
from reverse_codi.processes.environment import ADDRESS, MachineError, check_ray, running_cluster
from reverse_codi.processes.loopback import is_loopback, stay_on_loopback
from reverse_codi.processes.room import CPU, GPU, Ask, Node, ray_nodes
from reverse_codi.recipe.reward import RewardSection
from reverse_codi.rewards.registry import find_functions

if TYPE_CHECKING:
    from reverse_codi.recipe.schema import Recipe

log = logging.getLogger(__name__)


def start_ray() -> None:
    """Join the cluster that the job runs on, or start Ray on this machine: on loopback, without a dashboard.

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
    if not joining:
        # Ray's head would keep a record of each call for a dashboard that is not there.
        os.environ.setdefault("RAY_task_events_report_interval_ms", "0")
    if not joining or is_loopback(cluster_address()):
        stay_on_loopback()
    # Ray gives its processes 30 s to start, which a machine that computes on all cores may not.
    fix = "end other work on this machine and try again; Ray's logs are in its folder session_latest/logs"
    with blamed_on("Ray", MachineError, fix, "does not start"):
        context: Any = ray.init(
            address=os.environ.get(ADDRESS),
            include_dashboard=None if joining else False,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    stopping.listen_again()
    if joining:
        ray_session.joined()
    else:
        ray_session.started(context.address_info)


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


@runtime_checkable
class AsksForActor(Protocol):
    """The config of a reward that runs in an actor of its own: what it asks Ray for."""

    cpus: float
    gpus: float


@runtime_checkable
class MakesTexts(Protocol):
    """The options of a reward that has near misses of each text read too: how many."""

    near_misses: int


def own_reward_configs(reward: RewardSection) -> dict[str, AsksForActor]:
    """The configs of rewards with an actor of their own, by the rewards' names."""
    configs = {f.name: getattr(f.function, "config", None) for f in find_functions(reward)}
    return {name: config for name, config in configs.items() if isinstance(config, AsksForActor)}


def readings_of_a_text(reward: RewardSection) -> int:
    """How many texts are read for each text that is scored, itself among them."""
    options = (getattr(f.function, "keywords", {}).get("config") for f in find_functions(reward))
    return 1 + max((config.near_misses for config in options if isinstance(config, MakesTexts)), default=0)


def asks(recipe: Recipe) -> list[Ask]:
    """What the actors of a run ask Ray for, kind by kind, and what is kept for the trainer."""
    rollout, reward, place = recipe.rollout, recipe.reward, recipe.placement
    return [
        Ask(
            "rollout", rollout.actors, rollout.cpus, rollout.gpus,
            ("rollout.actors", "rollout.cpus", "rollout.gpus"),
        ),
        Ask(
            "reward", reward.actors, reward.cpus_per_actor, reward.gpus_per_actor,
            ("reward.actors", "reward.cpus_per_actor", "reward.gpus_per_actor"),
        ),
        *(
            Ask(f"{name}'s own", 1, c.cpus, c.gpus, ("", f"cpus of {name}", f"gpus of {name}"))
            for name, c in own_reward_configs(reward).items()
        ),
        Ask(
            "trainer", recipe.train.workers, trainer_cpus(recipe), place.trainer_gpus,
            ("train.workers", "placement.trainer_cpus", "placement.trainer_gpus"),
        ),
    ]  # fmt: skip


def trainer_cpus(recipe: Recipe) -> float:
    """CPUs of each trainer: Ray Train reserves some for each of several."""
    return recipe.placement.trainer_cpus or (1.0 if recipe.train.workers > 1 else 0.0)


def offered() -> list[Node] | None:
    """The machines that Ray has, or would have if it started here; None where a run would join a cluster."""
    if ray.is_initialized():
        return ray_nodes()
    if joins_cluster():
        return None
    return [Node(float(os.cpu_count() or 1), float(torch.cuda.device_count()))]


def cluster_address() -> str:
    """The address of the cluster that a run would join, "" where it would start Ray here."""
    if not joins_cluster():
        return ""
    named, running = os.environ.get(ADDRESS, "").strip(), running_cluster()
    return running.read_text().strip() if named in ("", "auto") and running is not None else named


def joins_cluster() -> bool:
    """Whether `ray.init` would join a cluster: one that is named, or that `ray start` began here."""
    address = os.environ.get(ADDRESS, "").strip()
    return address != "local" and (bool(address) or running_cluster() is not None)


def placement(recipe: Recipe) -> str:
    """The actors that a run would place, one line a kind."""
    rollout, reward = recipe.rollout, recipe.reward
    names = ", ".join(item.written for item in reward.functions)
    asked, place = asks(recipe), recipe.placement
    total = {what: sum(ask.n * ask.each(what) for ask in asked) for what in (CPU, GPU)}
    own = [ask for ask in asked if ask.kind not in ("rollout", "reward", "trainer")]
    together = f", together: {', '.join(place.colocate)}" if place.colocate else ""
    n, each = recipe.train.workers, f"{trainer_cpus(recipe):g} CPU and {place.trainer_gpus:g} GPU"
    trainers = "1 trainer in this process" if n == 1 else f"{n} trainers under Ray Train, each {each}"
    kept = f", {each} kept for the trainer" if n == 1 and (place.trainer_cpus or place.trainer_gpus) else ""
    return "\n".join(
        [
            f"{rollout.actors} rollout actor(s): {rollout.engine.kind}, "
            f"{rollout.cpus:g} CPU, {rollout.gpus:g} GPU each",
            f"{reward.actors} reward actor(s): {names}; "
            f"{reward.cpus_per_actor:g} CPU, {reward.gpus_per_actor:g} GPU each",
            *(f"1 actor of {ask.kind}: {ask.cpus:g} CPU, {ask.gpus:g} GPU" for ask in own),
            f"{trainers}; Ray must offer {total[CPU]:g} CPU and {total[GPU]:g} GPU in all "
            f"({place.strategy}{together}{kept})",
        ]
    )
