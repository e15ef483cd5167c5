"""Weights and losses that are no numbers: found at the step where they appear, before anything keeps them.

NaN compares as false with everything, so a tolerance, a best value or an early stop never sees it; and
the Trainer, as it comes, leaves a NaN loss out of what it logs (`logging_nan_inf_filter`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from reverse_codi.config import UserError


class NotFiniteError(UserError):
    """Weights, a loss or a figure became NaN or infinite; the message names the step and what to change."""


def non_finite(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """Name of the first tensor that holds a NaN or an infinity; None where all are finite.

    One norm of all of them, which reads the weights once and makes no mask as large as they are. It may
    overflow, so only the tensors themselves decide.
    """
    tensors = [(name, tensor.detach()) for name, tensor in named]
    if math.isfinite(float(get_total_norm([tensor for _, tensor in tensors]))):
        return None
    return next((name for name, tensor in tensors if not bool(tensor.isfinite().all())), None)


def check_weights(model: nn.Module, step: int, key: str, rate: float, whole: str) -> None:
    """Refuse trained weights that are not finite.

    Args:
        model: whose parameters that require a gradient are checked.
        step: optimizer steps done.
        key: the key of the learning rate.
        rate: its value.
        whole: what is left to go on from, for the message.

    Raises:
        NotFiniteError: names step and parameter.
    """
    trained = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
    if (name := non_finite(trained)) is not None:
        problem = f"step {step} left values in {name} that are not finite, so its weights are not kept"
        raise NotFiniteError(f"{problem}; {whole}. Lower {key} (now {rate:g})")


def check_loss(loss: Tensor | float, step: int, key: str, rate: float) -> None:
    """Refuse a loss that is not finite, for training loops without a Trainer; arguments as `check_weights`.

    Raises:
        NotFiniteError: names the step.
    """
    value = float(loss)
    if not math.isfinite(value):
        raise NotFiniteError(f"the loss of step {step} is {value}; lower {key} (now {rate:g})")


class StopAtNonFinite(TrainerCallback):
    """Ends training at the optimizer step that leaves a trained weight not finite, before it is saved.

    Args:
        key: the key of the learning rate, for the message.
        whole: what is left to go on from, for the message.
    """

    def __init__(self, key: str, whole: str) -> None:
        self.key = key
        self.whole = whole

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        """Check the trained weights; raises `NotFiniteError`."""
        assert model is not None  # the Trainer gives it
        check_weights(model, state.global_step, self.key, args.learning_rate, self.whole)
