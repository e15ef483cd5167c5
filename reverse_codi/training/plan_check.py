"""Whether a plan fits: a run that cannot is refused before any work, with the key to change."""

from __future__ import annotations

import torch

from reverse_codi.errors import RecipeError
from reverse_codi.processes.memory import GIB, machine
from reverse_codi.recipe.reasoner import Source
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training.holding import Holding, Plan
from reverse_codi.training.model_sizes import ModelSizes
from reverse_codi.training.plan import plan
from reverse_codi.training.plan_actors import gpu_memory
from reverse_codi.training.runtime import joins_cluster

# A plan may err by a fifth; it is refused where the run would not fit even so.
CERTAIN = 0.8


def planned_run(recipe: Recipe, source: Source | None = None) -> Plan | None:
    """What a run will hold; None where nothing is known of its reasoner yet.

    Args:
        recipe: of the run.
        source: the reasoner, where it is not the recipe's own section.

    Raises:
        RecipeError: the model lacks a layer that the LoRA targets.
    """
    sizes = ModelSizes.of(recipe, source)
    return None if sizes is None else plan(recipe, sizes)


def check_plan(planned: Plan) -> None:
    """Refuse a run that takes more than there is.

    Raises:
        RecipeError: names what takes most, and the key that lowers it.
    """
    # Where a cluster is joined, Ray chooses the machines of the actors.
    check_host(planned, machine(), trainer_alone=joins_cluster())
    if torch.cuda.is_available():
        check_gpus(planned, gpu_memory() / GIB, torch.cuda.device_count())


def check_host(planned: Plan, has: float | None, trainer_alone: bool = False) -> None:
    """Refuse a plan that takes more than the machine's memory.

    Args:
        planned: of the run.
        has: GiB of the machine; None where that is unknown.
        trainer_alone: the actors may run on other machines.

    Raises:
        RecipeError: names the process that takes most, its largest part and the key that lowers it.
    """
    wanted = (planned.trainer.host if trainer_alone else planned.host) / GIB
    if has is not None and CERTAIN * wanted > has:
        most = max([planned.trainer] if trainer_alone else planned.beside, key=lambda h: h.count * h.host)
        raise RecipeError(
            f"this run takes {wanted:.1f} GiB of memory, and there are {has:.1f}: {_blamed(most)}"
        )


def check_gpus(planned: Plan, each: float, count: int) -> None:
    """Refuse a plan in which the processes that share a GPU take more than it has.

    Args:
        planned: of the run.
        each: GiB of one GPU.
        count: GPUs.

    Raises:
        RecipeError: names the process that takes most on the fullest GPU.
    """
    for number, held in enumerate(shared_gpus(planned, count)):
        wanted = sum(holding.gpu for holding in held) / GIB
        if CERTAIN * wanted > each:
            most = max(held, key=lambda holding: holding.gpu)
            raise RecipeError(
                f"this run takes {wanted:.1f} GiB on GPU {number}, which has {each:.1f}: {_blamed(most)}"
            )


def shared_gpus(planned: Plan, count: int) -> list[list[Holding]]:
    """Which processes share each GPU: the trainer has the first, and Ray fills one after the other."""
    shared: list[list[Holding]] = [[] for _ in range(max(1, count))]
    free = [1.0] * len(shared)
    for holding in planned.beside:
        for _ in range(holding.count if holding.on_gpu else 0):
            if holding.process == "trainer" and holding.count == 1:  # not Ray's: beside what Ray places
                shared[0].append(holding)
                continue
            place = next((i for i, left in enumerate(free) if left + 1e-6 >= holding.gpus), len(free) - 1)
            free[place] -= holding.gpus
            shared[place].append(holding)
    return shared


def _blamed(most: Holding) -> str:
    part, size = max(most.parts.items(), key=lambda item: item[1])
    each = f"{most.count} x " if most.count > 1 else ""
    held = most.gpu if most.on_gpu else most.host
    fix = {"weights": "reasoner.dtype", "maps": "reading.spec.layers"}.get(part, most.key)
    return f"{most.name} takes {each}{held / GIB:.1f} GiB, {size / GIB:.1f} of it {part}; lower {fix}"
