"""Several trainers under Ray Train: the first worker runs the method, the others take part in its trainings."""

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

from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training.preflight import check_actors
from reverse_codi.training.runtime import start_ray
from reverse_codi.utils.config import UserError
from reverse_codi.utils.log import PACKAGE
from reverse_codi.utils.workers import is_first, sent
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
    resources = {"CPU": section.cpus_per_worker, "GPU": section.gpus_per_worker}
    records = Queue(actor_options={"num_cpus": 0})
    trainer = TorchTrainer(
        partial(_work, method=method),
        train_loop_config={"recipe": recipe, "resume": resume, "folder": os.getcwd(), "log": records},
        scaling_config=ScalingConfig(
            num_workers=section.workers, use_gpu=section.gpus_per_worker > 0, resources_per_worker=resources
        ),
        run_config=RunConfig(name="trainers", storage_path=str(Path(section.out).resolve() / "ray_train")),
        torch_config=TorchConfig(timeout_s=WAIT_S),
    )
    shown = QueueListener(records, *PACKAGE.handlers)
    shown.start()
    try:
        return Path(trainer.fit().return_value)
    except TrainingFailedError as error:
        raise reason(error) from error
    finally:
        shown.stop()
        records.shutdown()


def reason(error: TrainingFailedError) -> Exception:
    """What to tell the user: the first worker's own error where it has one."""
    failures = error.worker_failures if isinstance(error, WorkerGroupError) else {}
    for _, failure in sorted(failures.items()):
        cause: BaseException | None = failure
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if isinstance(cause, UserError):
            return cause
    lost = ", ".join(str(rank) for rank in sorted(failures)) or "unknown"
    return WorkersError(
        f"a trainer worker failed (rank {lost}): {error}; add --resume to go on from the last checkpoint"
    )


def _work(config: dict[str, Any], method: Method) -> str | None:
    """What each worker does."""
    recipe: Recipe = config["recipe"]
    os.chdir(config["folder"])
    if not is_first():
        take_part(partial(load_reasoner, recipe.reasoner))
        return None
    handler = QueueHandler(config["log"])
    PACKAGE.addHandler(handler)
    PACKAGE.setLevel(logging.INFO)
    try:
        folder = method(recipe, config["resume"])
    finally:
        PACKAGE.removeHandler(handler)
    sent(None)  # not after an error: the others may be within a step then, and Ray ends them
    return str(folder)
