"""Training in bfloat16 if the processor has instructions for it, else in float32.

Without such instructions torch emulates them: a product of two 2,048 x 2,048 matrices runs at .28 GFLOP/s in
bfloat16 and at 45 in float32 (one thread, AMD EPYC with AVX2).

With them, the backward pass of torch 2.13's bfloat16 flash attention on CPU takes 57 ms, and 10 ms in float32
(2 Xeon cores with AMX, 96 rows of 60 tokens, 4 heads). This loses all that bfloat16 matrix products gain. So
the products stay in bfloat16, and attention itself runs in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from reverse_codi.reasoners.half_precision import has_fast_bfloat16

FLOAT32_SDPA = "float32_sdpa"


def _float32_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    groups = query.shape[1] // key.shape[1]
    with torch.autocast(query.device.type, enabled=False):
        out = F.scaled_dot_product_attention(
            query.float(),
            key.float().repeat_interleave(groups, 1),
            value.float().repeat_interleave(groups, 1),
            attn_mask=attention_mask,
            # Without padding transformers hands over no mask and expects causal attention.
            is_causal=attention_mask is None and query.shape[2] > 1,
            dropout_p=dropout,
            scale=scaling,
        )
    return out.transpose(1, 2).to(query.dtype).contiguous(), None


def register() -> None:
    """Make `attn_implementation="float32_sdpa"` known to transformers."""
    AttentionInterface.register(FLOAT32_SDPA, _float32_sdpa)
    AttentionMaskInterface.register(FLOAT32_SDPA, sdpa_mask)


@contextmanager
def training_precision(lm: PreTrainedModel, on_cpu: bool) -> Iterator[dict[str, Any]]:
    """Keyword arguments of `TrainingArguments` for this machine; the block sets the attention of `lm`.

    Args:
        lm: the language model that is trained.
        on_cpu: whether it is trained there; a Trainer takes a GPU otherwise, wherever the model is.
    """
    bfloat16 = has_fast_bfloat16(on_cpu)
    arguments = {"bf16": bfloat16, "use_cpu": on_cpu, "dataloader_pin_memory": not on_cpu}
    if not (on_cpu and bfloat16):
        yield arguments
        return
    register()
    lm.set_attn_implementation(FLOAT32_SDPA)
    try:
        yield arguments
    finally:
        lm.set_attn_implementation("sdpa")
