"""Log-probabilities of texts, each distinct one computed once and without the padding of longer ones.

A policy that has learnt writes the same text for a thought again and again: 27 % of the texts of the demo's
last steps are distinct. Log-probabilities and gradients of equal texts are equal. A batch's longest text may
have three times as many tokens as the others.

Shapes: B texts, P tokens of a prompt, T tokens of a text.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

# Tokens of one pass. TRL's tile of logits has as many, and a pass over fewer gains nothing.
PASS_TOKENS = 4096


class DistinctTexts:
    """Mixin of TRL's GRPO trainer, before it in the order of bases; losses and gradients stay the same."""

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """TRL's log-probabilities and entropies [B, T].

        Args:
            model: the policy, or the reference.
            input_ids: [B, P + T].
            attention_mask: [B, P + T].
            logits_to_keep: T.
            batch_size: the most rows of a pass.
            options: TRL's, for all rows alike: what differs by row belongs to images, which thoughts lack.
        """
        rows, place = torch.unique(torch.cat([input_ids, attention_mask], 1), dim=0, return_inverse=True)
        ids, mask = rows.split(input_ids.shape[1], 1)
        lengths = mask[:, -logits_to_keep:].sum(1)
        order = lengths.argsort(stable=True)
        most = max(1, PASS_TOKENS // input_ids.shape[1])
        logprobs, entropies = [], []
        for part in order.split(most if batch_size is None else min(batch_size, most)):
            spare = logits_to_keep - max(1, int(lengths[part].max()))
            width = input_ids.shape[1] - spare
            of_part = super()._get_per_token_logps_and_entropies(  # type: ignore[misc]
                model, ids[part, :width], mask[part, :width], logits_to_keep - spare, **options
            )
            logprobs.append(pad(of_part[0], (0, spare)))
            if of_part[1] is not None:
                entropies.append(pad(of_part[1], (0, spare)))
        back = order.argsort()[place]
        return torch.cat(logprobs)[back], torch.cat(entropies)[back] if entropies else None, None
