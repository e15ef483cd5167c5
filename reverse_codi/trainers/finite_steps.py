"""The stop of a training before a checkpoint is saved that is worth nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from reverse_codi.trainers.checkpoints import ASIDE, WEIGHTS, last_complete_checkpoint, renamed
from reverse_codi.utils.finite import NotFiniteError, non_finite


class StopAtNonFinite(TrainerCallback):
    """Ends training at the step whose gradient, or whose weights, are not finite, before these are saved.

    The weights themselves are looked at, for outputs do not always show it: torch 2.13's attention on CPU
    makes plain numbers of a query of NaN (pinned by tests/unit/trainers/test_checkpoints.py).

    A checkpoint of the very weights whose gradient was not finite is set aside: the same batch would end a
    run from there at once, whatever its learning rate.

    Args:
        key: the key of the learning rate, for the message.
        out: folder of checkpoints; None where training keeps none.
        weights: the file that holds a checkpoint's weights.
    """

    def __init__(self, key: str, out: Path | None = None, weights: str = WEIGHTS) -> None:
        self.key = key
        self.out = out
        self.weights = weights

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        """Check the gradient of the step to be taken.

        Raises:
            NotFiniteError: it is not finite.
        """
        assert model is not None  # the Trainer gives it
        gradients = ((name, w.grad) for name, w in model.named_parameters() if w.grad is not None)
        if (name := non_finite(gradients)) is not None:
            step = state.global_step
            if self.out is not None and (dead := self.out / f"checkpoint-{step}").is_dir():
                renamed(dead, ASIDE)
            problem = f"the gradient of step {step + 1} (of {name}) is not finite"
            raise NotFiniteError(f"{problem}: {self._left(args)}")

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        """Check the weights of the step that was taken.

        Raises:
            NotFiniteError: a trained one is not finite.
        """
        assert model is not None  # the Trainer gives it
        trained = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
        if (name := non_finite(trained)) is not None:
            problem = f"step {state.global_step} left values in {name} that are not finite"
            raise NotFiniteError(f"{problem}: {self._left(args)}")

    def _left(self, args: TrainingArguments) -> str:
        """What there is to go on from, and what to change."""
        last = None if self.out is None else last_complete_checkpoint(self.out, self.weights)
        left = "no checkpoint was saved before" if last is None else f"the last to go on from is {last}"
        return f"the run stops and keeps nothing of it; {left}. Lower {self.key} (now {args.learning_rate:g})"
