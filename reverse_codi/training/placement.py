"""The placement of a run's actors: one placement group, reserved whole or refused within seconds.

A bundle of the group is what one actor takes, or the actors that the recipe colocates. Ray puts a bundle on
one machine, and a bundle's share of a GPU on one GPU. Rewards with actors of their own start those
themselves, beside the group; they count in what a cluster must have.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from reverse_codi.errors import RecipeError
from reverse_codi.processes import ray_session
from reverse_codi.processes.room import CPU, GPU, UNIT, Ask, Node, check_room, ray_nodes, shares
from reverse_codi.recipe.placement import PlacementSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training.runtime import asks

log = logging.getLogger(__name__)

# A cluster that has room answers in a fraction of a second, on busy cores in two.
WAIT_S = 8
TRAINER = "trainer"
NODE_ID = "ray.io/node-id"  # the label that Ray gives each machine


@dataclass
class Bundle:
    """What is placed together.

    Attributes:
        holds: kind -> number of its actor.
        cpus: of all of them.
        gpus: of all of them.
    """

    holds: dict[str, int] = field(default_factory=dict)
    cpus: float = 0.0
    gpus: float = 0.0

    def add(self, ask: Ask, i: int) -> None:
        """Put actor `i` of a kind in."""
        self.holds[ask.kind] = i
        self.cpus += ask.cpus
        self.gpus += ask.gpus

    @property
    def resources(self) -> dict[str, float]:
        """As Ray wants them; nothing that is 0."""
        given = {CPU: round(self.cpus, 4), GPU: round(self.gpus, 4)}
        return {what: value for what, value in given.items() if value >= UNIT}


def bundles(placed: Sequence[Ask], section: PlacementSection) -> list[Bundle]:
    """The bundles of a run, those of the trainer first; actors that ask for nothing are in none.

    Args:
        placed: rollout and reward actors, and what is kept for the trainer.
        section: says which kinds share bundles.

    Raises:
        RecipeError: shares of GPUs that make more than 1 and no whole number, which Ray cannot give.
    """
    together: list[Bundle] = []
    apart: list[Bundle] = []
    for ask in sorted(placed, key=lambda ask: ask.kind != TRAINER):
        for i in range(ask.n):
            shared = ask.kind in section.colocate
            if shared and i < len(together):
                together[i].add(ask, i)
                continue
            bundle = Bundle()
            bundle.add(ask, i)
            (together if shared else apart).append(bundle)
    made = [bundle for bundle in (*together, *apart) if bundle.resources]
    for bundle in made:
        if bundle.gpus > 1 + UNIT and abs(bundle.gpus - round(bundle.gpus)) > UNIT:
            who = " and ".join(bundle.holds)
            raise RecipeError(
                f"{who} together take {bundle.gpus:g} GPU; Ray gives a share of one GPU, or whole ones: "
                "lower rollout.gpus, reward.gpus_per_actor or placement.trainer_gpus, or change "
                "placement.colocate"
            )
    return sorted(made, key=lambda bundle: TRAINER not in bundle.holds)


def check_placement(recipe: Recipe, nodes: Sequence[Node]) -> None:
    """Refuse what the machines of a cluster cannot hold however empty they are.

    Raises:
        RecipeError: says what is asked, what there is, and which key to change.
    """
    section = recipe.placement
    if section.trainer_gpus and not recipe.reasoner.on_gpu:
        raise RecipeError(
            f"placement.trainer_gpus = {section.trainer_gpus:g}, but the trainer computes on "
            f"reasoner.device = {recipe.reasoner.device}; set one of them"
        )
    check_room(asks(recipe), nodes)
    made = bundles(in_group(recipe), section)
    strategy = f"placement.strategy = {section.strategy}"
    if section.strategy == "STRICT_SPREAD" and len(made) > len(nodes):
        raise RecipeError(
            f"{strategy} puts each of {len(made)} bundles on a machine of its own, and the cluster has "
            f"{len(nodes)}: set SPREAD, colocate kinds (placement.colocate), or lower rollout.actors or "
            "reward.actors"
        )
    if section.strategy == "STRICT_PACK":
        for what in (CPU, GPU):
            total = sum(bundle.resources.get(what, 0.0) for bundle in made)
            largest = max((node.has(what) for node in nodes), default=0.0)
            if total > largest + UNIT:
                raise RecipeError(
                    f"{strategy} puts {total:g} {what} ({shares(in_group(recipe), what)}) on one machine, "
                    f"and the largest has {largest:g}: set PACK, or lower one of these"
                )


def in_group(recipe: Recipe) -> list[Ask]:
    """The actors that the group holds, and what it keeps for the trainer; Ray Train places several."""
    kinds = ("rollout", "reward", TRAINER) if recipe.train.workers == 1 else ("rollout", "reward")
    return [ask for ask in asks(recipe) if ask.kind in kinds]


class Placement:
    """A reserved group.

    Args:
        group: of Ray; None where no actor asks for anything.
        made: its bundles, in order.
    """

    def __init__(self, group: PlacementGroup | None, made: Sequence[Bundle]) -> None:
        self.group = group
        self._index = {(kind, i): n for n, bundle in enumerate(made) for kind, i in bundle.holds.items()}

    @classmethod
    def reserve(cls, recipe: Recipe) -> Placement:
        """Reserve what the actors of a run ask for, all or nothing, in the cluster that is joined.

        Raises:
            RecipeError: the cluster has too little, or others hold it; nothing stays reserved.
        """
        check_placement(recipe, ray_nodes())
        made = bundles(in_group(recipe), recipe.placement)
        if not made:
            return cls(None, [])
        here = {NODE_ID: ray.get_runtime_context().get_node_id()}
        group = placement_group(
            [bundle.resources for bundle in made],
            strategy=recipe.placement.strategy,
            bundle_label_selector=[here if TRAINER in bundle.holds else {} for bundle in made],
        )
        if not group.wait(WAIT_S):
            remove_placement_group(group)
            raise RecipeError(_taken(recipe, len(made)))
        placed = cls(group, made)
        with ExitStack() as undo:
            undo.callback(placed.close)
            placed._check_trainer_gpu(recipe)
            undo.pop_all()
        return placed

    def strategy(self, kind: str, i: int) -> Any:
        """The `scheduling_strategy` of an actor; a restarted one goes where the former was."""
        if self.group is None or (kind, i) not in self._index:
            return "DEFAULT"
        return PlacementGroupSchedulingStrategy(self.group, self._index[kind, i])

    def close(self) -> None:
        """Give the machines back; actors that still run in the group end."""
        if self.group is not None and ray.is_initialized() and ray_session.lives():
            remove_placement_group(self.group)
        self.group = None

    def _check_trainer_gpu(self, recipe: Recipe) -> None:
        """Refuse a trainer whose device is not the GPU that Ray keeps for it.

        Raises:
            RecipeError: names the device to set.
        """
        share, device = recipe.placement.trainer_gpus, recipe.reasoner.device
        if not share or (TRAINER, 0) not in self._index:
            return
        kept = self.trainer_gpus(share)
        index = int(device.partition(":")[2] or 0)
        if index not in kept:
            raise RecipeError(
                f"Ray keeps GPU {', '.join(map(str, kept))} for the trainer, but reasoner.device = {device} "
                f"is GPU {index}: set reasoner.device: cuda:{kept[0]}"
            )

    def trainer_gpus(self, share: float) -> list[int]:
        """The GPUs of the trainer's bundle, as torch numbers them in this process."""
        remote = ray.remote(lambda: [str(gpu) for gpu in ray.get_gpu_ids()])
        options = {"num_cpus": 0, "num_gpus": share, "scheduling_strategy": self.strategy(TRAINER, 0)}
        given: list[str] = ray.get(remote.options(**options).remote())
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        shown = visible.split(",") if visible else []
        return [shown.index(gpu) if gpu in shown else int(gpu) for gpu in given]


def _taken(recipe: Recipe, n: int) -> str:
    """What to tell a user whose cluster would have room if others left it."""
    has, free = ray.cluster_resources(), ray.available_resources()
    wanted = in_group(recipe)
    parts = []
    for what in (CPU, GPU):
        if total := sum(ask.n * ask.each(what) for ask in wanted):
            whole, left = has.get(what, 0.0), free.get(what, 0.0)
            who = shares(wanted, what)
            parts.append(f"{total:g} {what} ({who}) of {whole:g}, of which {left:g} are free")
    keys = ", ".join(dict.fromkeys(key for ask in wanted for key in ask.keys if key))
    return (
        f"Ray could not place the run's actors in {WAIT_S} s: {n} bundles ({recipe.placement.strategy}) ask "
        f"for {' and '.join(parts)}. Wait until others are done (`ray status`), or lower {keys}"
    )
