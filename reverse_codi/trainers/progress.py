"""How far a transformers Trainer is, in place of its own bar and of the dictionaries that it prints."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from reverse_codi.utils.console import progress

log = logging.getLogger(__name__)


class ShowSteps(TrainerCallback):
    """Progress by optimizer steps, with the time left, and a line of the losses where the Trainer logs.

    Args:
        title: what is trained.
        losses: whether the losses get a line.
    """

    def __init__(self, title: str, losses: bool) -> None:
        self.title = title
        self.losses = losses
        self.open = ExitStack()
        self._advance: Callable[[int], None] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin where a resumed run is."""
        done = state.global_step
        self._advance = self.open.enter_context(progress(self.title, state.max_steps, done))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """One step more."""
        if self._advance is not None:
            self._advance(1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """The losses since the last line."""
        losses = {name: value for name, value in (logs or {}).items() if name.startswith("loss")}
        if self.losses and losses:
            shown = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
            log.info(f"{self.title}, step {state.global_step}: {shown}")


@contextmanager
def steps_shown(trainer: Trainer, title: str, losses: bool = True) -> Iterator[None]:
    """Show how far a trainer is while the block trains it; see `ShowSteps`."""
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    shown = ShowSteps(title, losses)
    trainer.add_callback(shown)
    with shown.open:
        yield
    trainer.remove_callback(shown)
