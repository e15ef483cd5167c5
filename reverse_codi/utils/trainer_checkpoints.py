"""A Trainer's checkpoints: which to go on from, and the stop before one is saved that is worth nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from reverse_codi.utils.finite import NotFiniteError, non_finite

WEIGHTS, POLICY_WEIGHTS = "model.safetensors", "adapter_model.safetensors"
# The Trainer counts, and rotates away, what is named checkpoint-N.
ASIDE = "not-finite-"


def complete_checkpoints(out: Path, weights: str = WEIGHTS) -> list[str]:
    """The checkpoints in `out` that were written to their end, newest first; a kill may have cut the last.

    Args:
        out: folder of checkpoints.
        weights: the file that holds a checkpoint's weights.
    """
    whole = [p.parent for p in out.glob("checkpoint-*/trainer_state.json") if (p.parent / weights).is_file()]
    return [str(folder) for folder in sorted(whole, key=_step, reverse=True)]


def last_complete_checkpoint(out: Path, weights: str = WEIGHTS) -> str | None:
    """The newest complete checkpoint whose weights are finite; arguments as in `complete_checkpoints`."""
    found = complete_checkpoints(out, weights)
    return next((folder for folder in found if _is_finite(Path(folder) / weights)), None)


def set_aside(out: Path, weights: str, say: Callable[[str], None]) -> None:
    """Rename checkpoints newer than the last finite one, so that the Trainer rotates none away for them.

    Args:
        out: folder of checkpoints.
        weights: the file that holds a checkpoint's weights.
        say: prints a line for each that is renamed.
    """
    for folder in map(Path, complete_checkpoints(out, weights)):
        if _is_finite(folder / weights):
            return
        say(f"{folder} holds weights that are not finite: renamed to {_rename(folder).name}")


def take_rate(optimizer: Any, scheduler: Any, rate: float) -> None:
    """Give a loaded optimizer the peak rate of the recipe at hand.

    torch goes on with the rate of the run that saved it. The schedule is always that of the recipe at hand:
    a scheduler saves no functions.

    Args:
        optimizer: as loaded.
        scheduler: a `LambdaLR`, as loaded.
        rate: the peak rate; the schedule's factor for the steps done is applied to it.
    """
    scheduler.base_lrs = [rate] * len(scheduler.base_lrs)
    now = [rate * factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
    for group, value in zip(optimizer.param_groups, now, strict=True):
        group["initial_lr"], group["lr"] = rate, value
    scheduler._last_lr = now


class StopAtNonFinite(TrainerCallback):
    """Ends training at the step whose gradient, or whose weights, are not finite, before these are saved.

    The weights themselves are looked at, for outputs do not always show it: torch 2.13's attention on CPU
    makes plain numbers of a query of NaN (pinned by tests/unit/utils/test_trainer_checkpoints.py).

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
                _rename(dead)
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


def _rename(folder: Path) -> Path:
    target = folder.with_name(f"{ASIDE}{_step(folder)}")
    shutil.rmtree(target, ignore_errors=True)  # of an earlier stop at the same step
    os.replace(folder, target)
    return target


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _is_finite(file: Path) -> bool:
    with safe_open(file, framework="pt") as tensors:
        # One tensor at a time: the whole model need not fit beside the one that is trained.
        return all(non_finite([(name, tensors.get_tensor(name))]) is None for name in tensors.keys())  # noqa: SIM118
