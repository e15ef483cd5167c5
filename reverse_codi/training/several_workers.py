"""Several trainers under Ray Train: the first runs the method, the others take part in its trainings.

A signal reaches the process that started them. It asks the first worker, which ends its training with a
checkpoint together with the others. Where the first is in no training, nothing can be kept, and all ends.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

from ray.train import RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import WorkerGroupError
from ray.util.queue import Queue

from reverse_codi.errors import UserError
from reverse_codi.processes import stopping
from reverse_codi.processes.workers import is_first, sent
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training.preflight import check_actors
from reverse_codi.training.runtime import start_ray, trainer_cpus
from reverse_codi.utils.log import PACKAGE
from reverse_codi.verbalize.with_others import take_part

# The others wait while the first worker samples, reads and evaluates. One that dies closes its connections,
# which ends the wait of all; so the limit need not find it.
WAIT_S = 7 * 24 * 3600
# How often the process that started the workers looks for a signal.
_LOOK_S = 0.5

Method = Callable[[Recipe, bool], Path]


class WorkersError(UserError):
    """A trainer worker was lost."""


@dataclass(frozen=True)
class _Stopped:
    """The first worker ended as it was asked to.

    Attributes:
        place: what there is to go on from, see `stopping.place`.
    """

    place: str


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
        StopAsked: a signal asked for the end.
    """
    section = recipe.train
    start_ray()
    check_actors(recipe)  # Ray would wait for what it lacks
    gpus = recipe.placement.trainer_gpus
    resources = {"CPU": trainer_cpus(recipe), **({"GPU": gpus} if gpus else {})}
    # Log records of the first worker; why it ended, a UserError or `_Stopped`; the signal that asks it to.
    records, ended, signals = (Queue(actor_options={"num_cpus": 0}) for _ in range(3))
    # Ray's type of a loop knows of no result, which Ray hands on from the first worker.
    work: Any = partial(_work, method=method)
    trainer = TorchTrainer(
        work,
        train_loop_config={
            "recipe": recipe, "resume": resume, "folder": os.getcwd(),
            "log": records, "ended": ended, "signals": signals,
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
        with stopping.deferred():
            result = _fitted(trainer, signals)
        return Path(result.return_value)
    except TrainingFailedError as error:
        why = None if ended.empty() else ended.get()
        if isinstance(why, UserError):
            raise why from None
        if isinstance(why, _Stopped):
            stopping.keep(why.place)
            stopping.check()
        raise WorkersError(f"{_lost(error)}; add --resume to go on from the last checkpoint") from error
    finally:
        shown.stop()
        for queue in (records, ended, signals):
            queue.shutdown()


def _fitted(trainer: TorchTrainer, signals: Queue) -> Any:
    """Ray Train's result, after a signal that comes meanwhile was handed on.

    Ray Train blocks the thread that it works in, and takes Ctrl-C for itself in the main thread.

    Raises:
        TrainingFailedError: a worker died.
    """
    result: Future[Any] = Future()

    def fit() -> None:
        try:
            result.set_result(trainer.fit())
        except Exception as error:
            result.set_exception(error)

    Thread(target=fit, daemon=True).start()  # it ends with Ray, and Python's end need not wait for it
    while not stopping.asked() and not result.done():
        wait([result], _LOOK_S)
    if not result.done():
        signals.put(stopping.signal_asked())
    return result.result()


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
    ended: Queue = config["ended"]
    handler = QueueHandler(config["log"])
    PACKAGE.addHandler(handler)
    PACKAGE.setLevel(logging.INFO)
    try:
        with _asked_by(config["signals"], ended):
            folder = method(recipe, config["resume"])
    except stopping.StopAsked:
        _leave(ended)
    except UserError as error:
        ended.put(error)  # as Ray Train raises it, its type is lost
        raise
    finally:
        PACKAGE.removeHandler(handler)
    sent(None)  # not after an error: the others may be within a step then, and Ray ends them
    return str(folder)


def _leave(ended: Queue) -> NoReturn:
    """End this worker's process: Ray Train then ends the others, wherever they wait, and itself."""
    ended.put(_Stopped(stopping.place()))
    os._exit(0)


@contextmanager
def _asked_by(signals: Queue, ended: Queue) -> Iterator[None]:
    """In the block, a signal that comes by a queue asks this worker to stop.

    Where it is in no training, which would end by itself, its end is not waited for.
    """

    def heed() -> None:
        number = signals.get()
        if number is not None and not stopping.request(number):
            _leave(ended)

    listener = Thread(target=heed, daemon=True)
    listener.start()
    try:
        yield
    finally:
        signals.put(None)
        listener.join()
