"""A Trainer that stops when a signal asks for it: after the step under way, with a checkpoint."""

from __future__ import annotations

from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from reverse_codi.processes import stopping, under_way
from reverse_codi.trainers.checkpoints import steps_of


class StopWhenAsked(TrainerCallback):
    """Ends training after the step in which a signal came, and says which step is under way.

    It stands before callbacks that look at `control.should_save`. Training runs in `stopping.deferred`, which
    raises when it is over.

    Args:
        what: is trained, for the message.
    """

    def __init__(self, what: str) -> None:
        self.what = what

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note the step."""
        under_way.at_step(state.global_step + 1)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask for a checkpoint and the end."""
        under_way.moved()
        if stopping.asked():
            control.should_save = control.should_training_stop = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note what a stopped run can go on from."""
        if stopping.asked():
            stopping.keep(f"at step {state.global_step} of {self.what}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """No step is under way any more."""
        under_way.at_step(0)


def train_on(trainer: Trainer, checkpoint: str | None) -> None:
    """Train to the end, from a checkpoint or from the start; one of the last step is loaded and no more.

    transformers would take one more step from there.
    """
    if checkpoint is not None and steps_of(checkpoint) >= trainer.args.max_steps:
        trainer._load_from_checkpoint(checkpoint)
    else:
        trainer.train(resume_from_checkpoint=checkpoint)
