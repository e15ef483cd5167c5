"""What each process of a training run will hold, from the recipe and sizes alone."""

from __future__ import annotations

from collections.abc import Callable

from reverse_codi.recipe.schema import Recipe
from reverse_codi.training.holding import Holding, Plan
from reverse_codi.training.model_sizes import ModelSizes
from reverse_codi.training.plan_actors import actors
from reverse_codi.training.plan_trainer import finishing, fitting, learning, tracing, warming

FINISHING = "verbalizer"
"""The stage in which a run puts the finished verbalizer together."""


def plan(recipe: Recipe, sizes: ModelSizes) -> Plan:
    """What a run of a recipe will hold."""
    stages: list[tuple[str, Callable[[Recipe, ModelSizes], dict[str, float]], str]] = [
        ("traces", tracing, "trace.batch_size"),
        ("reading", fitting, "reading.memory_gib"),
    ]
    if recipe.warm_start.steps:
        stages.append(("warm start", warming, "warm_start.micro_batch"))
    stages += [
        (stage.name if recipe.reinforce else stage.kind, learning(stage.section), _key(stage.kind))
        for stage in recipe.stages
    ]
    stages.append((FINISHING, finishing, "grpo.max_new_tokens"))
    on_gpu = recipe.reasoner.on_gpu
    mapped = 0.0 if on_gpu else float(sizes.weights)
    workers = recipe.train.workers
    alone = ("traces", "reading", FINISHING)  # the other trainers wait
    held = [
        Holding(
            "trainer", name, 1 if name in alone else workers, on_gpu,
            float(on_gpu) if workers == 1 else recipe.placement.trainer_gpus,
            parts(recipe, sizes), mapped, key,
        )
        for name, parts, key in stages
    ]  # fmt: skip
    return Plan([*held, *actors(recipe, sizes)] if recipe.stages else held)


def _key(kind: str) -> str:
    return "trace.n" if kind == "search" else f"{kind}.micro_batch"
