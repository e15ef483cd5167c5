"""Values that are no numbers, found where they appear, before anything is kept or chosen by them.

NaN compares as false with everything, so a tolerance, a best value or an early stop never sees it; and
the Trainer, as it comes, leaves a NaN loss out of what it logs (`logging_nan_inf_filter`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor
from torch.nn.utils import get_total_norm

from reverse_codi.errors import UserError


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


def check_loss(loss: Tensor | float, step: int, key: str, rate: float) -> None:
    """Refuse a loss that is not finite.

    Args:
        loss: of the step.
        step: optimizer steps done, this one included.
        key: the key of the learning rate.
        rate: its value.

    Raises:
        NotFiniteError: names the step.
    """
    value = float(loss)
    if not math.isfinite(value):
        raise NotFiniteError(f"the loss of step {step} is {value}; lower {key} (now {rate:g})")
