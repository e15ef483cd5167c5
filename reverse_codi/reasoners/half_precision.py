"""Frozen half-precision layers on CPUs that have no instructions for half precision.

PyTorch multiplies bfloat16 matrices there at a seventh of the speed of float32 ones (10 and 71 GFLOP/s on one
core of an AMD EPYC, 512 rows). A layer that turns a part of its weights into float32 at a time keeps nearly
all of that speed, and the model still takes two bytes a weight.

Shapes: N rows, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

# Rows from which turning weights into float32 costs less than it gains.
LEAST_ROWS = 3
# Weights that are float32 at one moment: 4 MiB, which a cache holds.
_PART = 2**20


def widen_frozen_layers(model: nn.Module) -> None:
    """Let a model's half-precision layers compute in float32 where this CPU has nothing faster.

    Weights, their types, and what comes out of a layer stay in half precision. Layers that are trained, and
    those on a GPU, compute as before.
    """
    if has_fast_bfloat16(on_cpu=True):
        return
    for module in model.modules():
        wide = _WIDE.get(type(module))
        if wide is not None and module.weight.dtype in (torch.bfloat16, torch.float16):
            module.__class__ = wide


def has_fast_bfloat16(on_cpu: bool) -> bool:
    """Whether this machine's processor or accelerator multiplies matrices in bfloat16 by itself."""
    if not on_cpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public name for these two.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class _WideLinear(nn.Linear):
    """A linear layer whose frozen weights [O, I] are multiplied in float32."""

    def forward(self, input: Tensor) -> Tensor:
        if _native(input, self.weight):
            return super().forward(input)
        return _product(input, self.weight, self.bias)


class _WideConv1D(Conv1D):
    """The same of GPT-2's layers, whose weights are [I, O]."""

    def forward(self, x: Tensor) -> Tensor:
        if _native(x, self.weight):
            native: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return native
        return _product(x, self.weight.T, self.bias)


_WIDE: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: _WideLinear, Conv1D: _WideConv1D}


def _native(x: Tensor, weight: Tensor) -> bool:
    few = x.shape[:-1].numel() < LEAST_ROWS
    trained = weight.requires_grad and torch.is_grad_enabled()
    return few or trained or weight.device.type != "cpu" or x.dtype != weight.dtype


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply x [*, I] by weight [O, I]: [*, O]."""
    flat: Tensor = _Product.apply(x.flatten(0, -2), weight)  # type: ignore[no-untyped-call]
    found = flat.unflatten(0, x.shape[:-1])
    return found if bias is None else found + bias


class _Product(torch.autograd.Function):
    """Product of x [N, I] and frozen weights [O, I]; only x has a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        wide = x.float()
        parts = weight.split(_outputs_at_once(weight))
        return torch.cat([(wide @ part.float().T).to(x.dtype) for part in parts], 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (weight,), (gradient,) = ctx.saved_tensors, gradients
        total = gradient.new_zeros(len(gradient), weight.shape[1], dtype=torch.float32)
        size = _outputs_at_once(weight)
        for part, of_part in zip(weight.split(size), gradient.split(size, 1), strict=True):
            total.addmm_(of_part.float(), part.float())
        return total.to(gradient.dtype), None


def _outputs_at_once(weight: Tensor) -> int:
    return max(1, _PART // weight.shape[1])
