"""A second language model over the weights of a first one, which are in memory once."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import Tensor, nn

ModelT = TypeVar("ModelT", bound=nn.Module)


def sharing_weights(model: ModelT) -> ModelT:
    """A copy of a model that has modules, configuration and buffers of its own, and the same weights.

    Its parameters are new objects over the same memory. So a LoRA around its layers, `requires_grad_`,
    hooks, another attention, a move to another device or another type leave the first model as it is. Only a
    write into a frozen weight would reach both: nothing may do so while the first is in use.
    Tied parameters stay tied. Buffers (rotary frequencies, a few KiB) are copied, since some models write
    into them as they run.
    """
    memo: dict[int, Tensor] = {
        id(weight): nn.Parameter(weight.detach(), requires_grad=weight.requires_grad)
        for weight in model.parameters()
    }
    return copy.deepcopy(model, memo)
