"""The worker processes that train one policy together: how many, which is the first, what they exchange.

The first worker (rank 0) runs the method; the others take part in the optimizer steps alone. Where no process
group of torch.distributed is open there is one worker, the first. Every function that exchanges something has
to be called by all workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from reverse_codi.processes import stopping

# What a callback may ask of a Trainer.
ASKED = ("should_training_stop", "should_epoch_stop", "should_save", "should_evaluate", "should_log")


def n_workers() -> int:
    """Number of workers."""
    return distributed.get_world_size() if _open() else 1


def rank() -> int:
    """Number of this worker; 0 is the first."""
    return distributed.get_rank() if _open() else 0


def is_first() -> bool:
    """Whether this process runs the method."""
    return rank() == 0


def share_of(rows: int) -> int:
    """Rows of one worker, of those that all learn from in a step."""
    return rows // n_workers()


def sent(value: Any = None) -> Any:
    """What the first worker gives; the values of the others do not count."""
    if n_workers() == 1:
        return value
    given = [value if is_first() else None]
    distributed.broadcast_object_list(given, src=0)
    return given[0]


def at_first(rows: Sequence[Any], work: Callable[[list[Any]], Sequence[Any]]) -> list[Any]:
    """Let the first worker do something with the rows of all, in the order of their ranks.

    Args:
        rows: of this worker; as many in each.
        work: one result a row; called in the first worker alone.

    Returns:
        The results of this worker's rows.
    """
    if n_workers() == 1:
        return list(work(list(rows)))
    first = is_first()
    everywhere: list[Any] | None = [None] * n_workers() if first else None
    distributed.gather_object(list(rows), everywhere, dst=0)
    parts: list[Any] | None = None
    if everywhere is not None:
        done = list(work([row for part in everywhere for row in part]))
        parts = [done[start : start + len(rows)] for start in range(0, len(done), len(rows))]
    mine: list[Any] = [None]
    distributed.scatter_object_list(mine, parts, src=0)
    return cast(list[Any], mine[0])


def droppable() -> AbstractContextManager[None]:
    """As `stopping.droppable`, for a lone worker: of several none leaves a step that the others wait in."""
    return stopping.droppable() if n_workers() == 1 else nullcontext()


class AgreeOnControl(TrainerCallback):
    """Lets all workers do what a callback asked of one: stop, save, or log at the same step.

    It comes after the callbacks that ask. Without it the others would wait for the one that stopped.
    """

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Take the largest of each flag."""
        if n_workers() > 1:
            flags = torch.tensor([float(getattr(control, name)) for name in ASKED], device=args.device)
            distributed.all_reduce(flags, distributed.ReduceOp.MAX)
            for name, flag in zip(ASKED, flags.tolist(), strict=True):
                setattr(control, name, bool(flag))
        return control


def _open() -> bool:
    return distributed.is_available() and distributed.is_initialized()
