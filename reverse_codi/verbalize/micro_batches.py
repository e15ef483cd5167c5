"""TRL's trainers with a batch in parts: the optimizer step is the whole batch's, the memory is one part's.

Transformers' own accumulation (`gradient_accumulation_steps`) would draw word dropout's random numbers by the
part, count TRL's generations in parts, need parts that divide the batch, and pad each part to the batch's
longest text. Here only `compute_loss` knows of parts: sampler, shuffling, word dropout, generation, counters
and checkpoints see the whole batch.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

Batch = dict[str, Any]


class MicroBatches:
    """Mixin of TRL's trainers, before them in the order of bases.

    The gradients of all parts but the last are taken within `compute_loss`; the Trainer takes those of the
    loss that it returns. The logged figures are those of the whole batch too.

    Attributes:
        micro_batch: rows of one part.
        mask_name: the entry [B, T] of a batch that is 1 where a row has a token.
    """

    micro_batch: int
    mask_name: str

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Loss of the whole batch, with the gradient of what is not yet accumulated."""
        loss_of: Any = super().compute_loss  # type: ignore[misc]
        trainer: Any = self
        n = len(inputs[self.mask_name])
        if n <= self.micro_batch or not trainer.model.training:
            return loss_of(model, inputs, return_outputs, num_items_in_batch)
        figures = trainer._metrics["train"]
        before = {name: len(values) for name, values in figures.items()}
        parts = split(inputs, self.mask_name, self.micro_batch)
        total = torch.zeros((), device=inputs[self.mask_name].device)
        for place, part in enumerate(parts):
            loss = loss_of(model, part, False, num_items_in_batch)
            if num_items_in_batch is None:  # a mean over rows: TRL's GRPO
                loss = loss * (len(part[self.mask_name]) / n)
            if place < len(parts) - 1:
                trainer.accelerator.backward(loss)
                total += loss.detach()
        _join(figures, before, [_learnt(part, self.mask_name) for part in parts])
        return loss + total


def split(batch: Mapping[str, Any], mask_name: str, rows: int) -> list[Batch]:
    """A batch in parts of nearly equal size, texts of like length together, without padding at their end.

    Args:
        batch: tensors [B, ...] and whatever else each part gets as it is.
        mask_name: the entry [B, T] that is 1 at tokens. It says what is padding in entries of its width, but
            for those of a prompt.
        rows: the most rows of a part.
    """
    mask = batch[mask_name]
    n_parts = math.ceil(len(mask) / rows)
    order = mask.sum(1).argsort(stable=True)
    return [_part(batch, mask, index) for index in order.tensor_split(n_parts)]


def _part(batch: Mapping[str, Any], mask: Tensor, rows: Tensor) -> Batch:
    width = int(mask[rows].any(0).nonzero().max()) + 1 if bool(mask[rows].any()) else 1

    def cut(name: str, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dim() == 0:
            return value
        padded = value.dim() == 2 and value.shape[1] == mask.shape[1] and not name.startswith("prompt_")
        return value[rows, :width] if padded else value[rows]

    return {name: cut(name, value) for name, value in batch.items()}


def _learnt(part: Batch, mask_name: str) -> int:
    """Tokens that the loss of a part counts."""
    labels = part.get("labels")
    return int(part[mask_name].sum() if labels is None else (labels[:, 1:] != -100).sum())


def _join(figures: dict[str, list[float]], before: Mapping[str, int], tokens: Sequence[int]) -> None:
    """Put one figure of the whole batch in place of those that its parts have appended."""
    for name, values in figures.items():
        first = before.get(name, 0)
        new = [(value, n) for value, n in zip(values[first:], tokens, strict=False) if not math.isnan(value)]
        if len(values) - first != len(tokens) or not new:
            continue
        if name.endswith(("min", "max")):
            joined = (min if name.endswith("min") else max)(value for value, _ in new)
        else:
            joined = sum(value * n for value, n in new) / max(1, sum(n for _, n in new))
        values[first:] = [joined]


def checkpointing(on: bool) -> dict[str, Any]:
    """Keyword arguments of `TrainingArguments`.

    The reentrant kind would lose the gradient: the first layer's input needs none, since the embedding is
    frozen.
    """
    kind = {"use_reentrant": False} if on else None
    return {"gradient_checkpointing": on, "gradient_checkpointing_kwargs": kind}


def end_checkpointing(model: PeftModel) -> None:
    """Compute as before again after a stage with gradient checkpointing; the Trainer leaves it on."""
    lm: Any = model.get_base_model()
    if lm.is_gradient_checkpointing:
        lm.gradient_checkpointing_disable()
        lm.disable_input_require_grads()
        # TRL and the Trainer each put a hook there, and transformers 5.17 takes away the last one only.
        hooks = lm.get_input_embeddings()._forward_hooks
        for key in [key for key, hook in hooks.items() if hook.__name__ == "make_inputs_require_grads"]:
            del hooks[key]
