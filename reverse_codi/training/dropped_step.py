"""A step that a signal cut off: the steps before it are kept, as if a checkpoint had been due then."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from reverse_codi.processes import stopping


def _on_gpus() -> list[torch.Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


@dataclass(frozen=True)
class RandomState:
    """The random states that a Trainer's checkpoint holds, as they were when this was made."""

    python: Any = field(default_factory=random.getstate)
    numpy: Any = field(default_factory=np.random.get_state)
    cpu: torch.Tensor = field(default_factory=torch.get_rng_state)
    gpus: list[torch.Tensor] = field(default_factory=_on_gpus)

    def restore(self) -> None:
        """Go back to it."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.gpus:
            torch.cuda.set_rng_state_all(self.gpus)


class LastWholeStep(TrainerCallback):
    """Remembers the random state after each step, for a checkpoint that is written later.

    Args:
        saved: step of the checkpoint that training goes on from; 0 for none.
    """

    def __init__(self, saved: int) -> None:
        self.saved = saved
        self.random: RandomState | None = None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A step is whole."""
        self.random = RandomState()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A checkpoint was written."""
        self.saved = state.global_step


@contextmanager
def whole_steps_kept(trainer: Trainer, last: LastWholeStep, what: str) -> Iterator[None]:
    """Train in the block; where a step is dropped, write a checkpoint of the steps before it.

    Args:
        trainer: trains in the block; has `last` among its callbacks.
        last: remembers the last step.
        what: is trained, for the message.

    Raises:
        StopAsked: a signal asked for the end.
    """
    try:
        with stopping.deferred():
            yield
    except stopping.StopAsked:
        step = trainer.state.global_step
        if last.random is not None and step > last.saved:
            assert trainer.model is not None  # it trained
            last.random.restore()
            trainer._save_checkpoint(trainer.model, trial=None)  # as transformers' own checkpoints on SIGTERM
        stopping.keep(f"at step {max(step, last.saved)} of {what}")
        raise
