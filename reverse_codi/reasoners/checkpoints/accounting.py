"""Accounting: a file holds every tensor that a model needs, in the right shape, and no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from reverse_codi.reasoners.checkpoints.errors import CheckpointError

SHOWN = 8
"""Problems that a message lists; a checkpoint of another model has hundreds."""
CHECKED_AT_ONCE = 1 << 24
"""Values that are looked at in one go: the masks of a whole embedding table would take as much as itself."""


def check_fits(
    expected: Mapping[str, torch.Size],
    found: Mapping[str, torch.Size],
    source: str,
    place: Callable[[str], str] | None = None,
) -> None:
    """Compare names and shapes.

    Args:
        expected: what the model needs.
        found: what there is.
        source: the file or files, as a message names them.
        place: how a message names a tensor; its name if None.

    Raises:
        CheckpointError: a tensor is missing, unknown or has another shape; the message names each.
    """
    named = place or (lambda name: name)
    problems = [f"{named(name)} is missing" for name in sorted(expected.keys() - found.keys())]
    problems += [f"{named(name)} is unknown" for name in sorted(found.keys() - expected.keys())]
    problems += [
        f"{named(name)} has shape {tuple(found[name])}, not {tuple(expected[name])}"
        for name in sorted(expected.keys() & found.keys())
        if found[name] != expected[name]
    ]
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CheckpointError(f"{source}: " + "; ".join(problems[:SHOWN]) + more)


def check_finite(tensors: Mapping[str, Tensor], place: Callable[[str], str], why: str = "") -> None:
    """Refuse weights that are NaN or infinite, with which no output is meaningful.

    Args:
        tensors: by name; those without memory are passed over.
        place: how a message names a tensor.
        why: the remedy, for the message.

    Raises:
        CheckpointError: the first tensor with such a value, and how many it has.
    """
    for name, tensor in tensors.items():
        if tensor.is_meta or not tensor.is_floating_point():
            continue
        parts = tensor.detach().reshape(-1).split(CHECKED_AT_ONCE)
        if bad := sum(int((~torch.isfinite(part)).sum()) for part in parts):
            raise CheckpointError(
                f"{place(name)} holds {bad} of {tensor.numel()} values that are NaN or infinite; "
                f"{why or 'fetch it again, or take another checkpoint'}"
            )


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without memory in common, which safetensors refuses to write."""
    seen: set[int] = set()
    out = {}
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        shared = not tensor.is_meta and memory in seen
        out[name] = tensor.contiguous().clone() if shared else tensor.contiguous()
        seen.add(memory)
    return out


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The shape of each tensor."""
    return {name: tensor.shape for name, tensor in tensors.items()}


def skeleton(config: PretrainedConfig) -> PreTrainedModel:
    """The language model of a configuration, without memory for its weights."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model


def copies(model: PreTrainedModel) -> dict[str, str]:
    """Names that share another name's tensor (tied embeddings) -> the name that is kept, in order."""
    first: dict[int, str] = {}
    shared = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            shared[name] = first[id(parameter)]
        else:
            first[id(parameter)] = name
    return shared
