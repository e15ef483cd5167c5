"""LoRA merged into its base weights: W + (B @ A) * alpha / rank (arXiv 2106.09685).

Keys are PEFT's: `X.base_layer.weight`, `X.lora_A.default.weight` [r, in], `X.lora_B.default.weight` [out, r].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from reverse_codi.reasoners.checkpoints.errors import CheckpointError

_LOW_RANK = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.default\.weight")
_BASE = ".base_layer."


@dataclass(frozen=True)
class Merged:
    """A language model's tensors with its LoRA added in.

    Attributes:
        tensors: by the plain model's names.
        modules: modules with a LoRA.
        n_lora: number of LoRA parameters.
        rank: rank of the first LoRA; 0 without any.
    """

    tensors: dict[str, Tensor]
    modules: tuple[str, ...]
    n_lora: int
    rank: int


def merge(
    tensors: Mapping[str, Tensor],
    model: PreTrainedModel,
    alpha: Callable[[], float],
    place: Callable[[str], str],
) -> Merged:
    """Add a LoRA into its base weights, in float32.

    Args:
        tensors: by PEFT's names, without the prefix of the plain model.
        model: the plain model (on the meta device); GPT-2's `Conv1D` keeps weights as [in, out].
        alpha: returns the LoRA's alpha, which no checkpoint holds; called only if there is a LoRA.
        place: how a message names a tensor.

    Raises:
        CheckpointError: half of a LoRA or its base weight is missing, or shapes do not multiply.
    """
    plain = {
        name.replace(_BASE, "."): tensor for name, tensor in tensors.items() if not _LOW_RANK.fullmatch(name)
    }
    sides: dict[str, dict[str, str]] = {}
    for name in tensors:
        if match := _LOW_RANK.fullmatch(name):
            sides.setdefault(match["module"], {})[match["side"]] = name
    for name in tensors:
        module, base, kind = name.partition(_BASE)
        if base and kind == "weight" and module not in sides:
            raise CheckpointError(
                f"{place(f'{module}.lora_A.default.weight')} is missing, though {name} waits for it"
            )
    n_lora = 0
    for module, names in sides.items():
        for side in "AB":
            if side not in names:
                raise CheckpointError(
                    f"{place(f'{module}.lora_{side}.default.weight')} is missing: half of a LoRA"
                )
        base = f"{module}{_BASE}weight"
        if base not in tensors:
            raise CheckpointError(f"{place(base)} is missing: its LoRA has nothing to stand on")
        down, up, weight = tensors[names["A"]], tensors[names["B"]], tensors[base]
        turned = isinstance(_module(model, module, place), Conv1D)
        wanted = tuple(weight.shape[::-1] if turned else weight.shape)  # [out, in]
        if up.dim() != 2 or down.dim() != 2 or (len(up), down.shape[1]) != wanted or up.shape[1] != len(down):
            raise CheckpointError(
                f"{place(names['A'])} {tuple(down.shape)} and lora_B {tuple(up.shape)} do not multiply "
                f"to the {wanted} of {base}"
            )
        delta = (up.float() @ down.float()) * (alpha() / len(down))
        plain[f"{module}.weight"] = weight.float() + (delta.T if turned else delta)
        n_lora += up.numel() + down.numel()
    rank = next((len(tensors[names["A"]]) for names in sides.values()), 0)
    return Merged(plain, tuple(sides), n_lora, rank)


def _module(model: PreTrainedModel, name: str, place: Callable[[str], str]) -> torch.nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise CheckpointError(f"{place(name)} is no layer of a {type(model).__name__}") from None
