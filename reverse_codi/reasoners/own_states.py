"""The states of each text's own tokens, out of a padded batch.

Shapes: B texts, P tokens of the padded batch, L + 1 layers, T tokens of a text, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def own_states(layers: Sequence[Tensor], lengths: Sequence[int], *, last: bool) -> list[Tensor]:
    """States [L + 1, T, d] of B texts, in float32, on the device that the batch is on.

    On the CPU they are copies, which keep nothing of the batch. On another device they are views of one
    tensor, which holds every text at the length of the longest.

    Args:
        layers: of each layer the states [B, P, d].
        lengths: T of each text.
        last: whether a text's tokens are the last of its row, as where padding stands on the left; otherwise
            the first.
    """
    longest = max(lengths)
    start = layers[0].shape[1] - longest if last else 0
    # Cut before they are stacked: questions before the texts may be far longer than these.
    stacked = torch.stack([states[:, start : start + longest] for states in layers], 1).float()
    own = [
        states[:, longest - n :] if last else states[:, :n]
        for states, n in zip(stacked, lengths, strict=True)
    ]
    return [states.clone() for states in own] if stacked.device.type == "cpu" else own
