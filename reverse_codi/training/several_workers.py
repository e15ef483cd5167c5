"""Several trainers under Ray Train: the first runs the method, the others take part in its trainings."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from typing import Any

from ray.train import RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import WorkerGroupError
from ray.util.queue import Queue

from reverse_codi.errors import UserError
from reverse_codi.processes.workers import is_first, sent
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training.preflight import check_actors
from reverse_codi.training.runtime import start_ray, trainer_cpus
from reverse_codi.utils.log import PACKAGE
from reverse_codi.verbalize.with_others import take_part

# The others wait while the first worker samples, reads and evaluates. One that dies closes its connections,
# which ends the wait of all; so the limit need not find it.
WAIT_S = 7 * 24 * 3600

Method = Callable[[Recipe, bool], Path]


class WorkersError(UserError):
    """A trainer worker was lost."""


def on_workers(recipe: Recipe, resume: bool, method: Method) -> Path:
    """Run the method in the first of `train.workers` processes, with the others at hand.

    Args:
        recipe: of the run.
        resume: go on from the last checkpoint.
        method: what trains; called in the first worker.

    Returns:
        What the method returns.

    Raises:
        UserError: as the method.
        WorkersError: a worker died.
    """
    section = recipe.train
    start_ray()
    check_actors(recipe)  # Ray would wait for what it lacks
    gpus = recipe.placement.trainer_gpus
    resources = {"CPU": trainer_cpus(recipe), **({"GPU": gpus} if gpus else {})}
    records, refused = (Queue(actor_options={"num_cpus": 0}) for _ in range(2))
    # Ray's type of a loop knows of no result, which Ray hands on from the first worker.
    work: Any = partial(_work, method=method)
    trainer = TorchTrainer(
        work,
        train_loop_config={
            "recipe": recipe, "resume": resume, "folder": os.getcwd(), "log": records, "refused": refused,
        },
        scaling_config=ScalingConfig(
            num_workers=section.workers, use_gpu=gpus > 0, resources_per_worker=resources
        ),
        run_config=RunConfig(name="trainers", storage_path=str(Path(section.out).resolve() / "ray_train")),
        torch_config=TorchConfig(timeout_s=WAIT_S),
    )  # fmt: skip
    shown = QueueListener(records, *PACKAGE.handlers)
    shown.start()
    try:
        result: Any = trainer.fit()
        return Path(result.return_value)
    except TrainingFailedError as error:
        if not refused.empty():
            raise refused.get() from None
        raise WorkersError(f"{_lost(error)}; add --resume to go on from the last checkpoint") from error
    finally:
        shown.stop()
        records.shutdown()
        refused.shutdown()


def _lost(error: TrainingFailedError) -> str:
    """Which workers failed, and the last line of what each said."""
    failures = error.worker_failures if isinstance(error, WorkerGroupError) else {}
    said = {rank: str(failure).strip().splitlines()[-1:] for rank, failure in failures.items()}
    each = "; ".join(f"rank {rank}: {''.join(line)}" for rank, line in sorted(said.items()))
    return f"a trainer worker failed ({each or error})"


def _work(config: dict[str, Any], method: Method) -> str | None:
    """What each worker does."""
    recipe: Recipe = config["recipe"]
    os.chdir(config["folder"])
    if not is_first():
        take_part(recipe)
        return None
    handler = QueueHandler(config["log"])
    PACKAGE.addHandler(handler)
    PACKAGE.setLevel(logging.INFO)
    try:
        folder = method(recipe, config["resume"])
    except UserError as error:
        config["refused"].put(error)  # as Ray Train raises it, its type is lost
        raise
    finally:
        PACKAGE.removeHandler(handler)
    sent(None)  # not after an error: the others may be within a step then, and Ray ends them
    return str(folder)
