"""Word dropout: a verbalizer that learns must read the thought, and not its own words before.

Shapes: N texts, L tokens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reverse_codi.processes.workers import rank

FILE = "word_dropout_{rank}.safetensors"
"""Of each worker."""
# accelerate fetches a batch before it is trained on.
AHEAD = 4


class WordDropout:
    """Collates, then shows a share of each text's tokens as another token of the batch's texts.

    A verbalizer that may trust what it has written works a result out from the operands before it; where the
    thought holds another result than that, it must read the thought. Labels stay as they are (word dropout:
    Bowman et al. 2016, arXiv 1511.06349, section 3.1, with other words in place of an unknown one).

    Args:
        collate: makes a batch of examples.
        share: of the tokens, chosen anew in each batch.
        seed: of the choice.
    """

    def __init__(self, collate: Callable[[Any], Any], share: float, seed: int) -> None:
        self.collate = collate
        self.share = share
        self.generator = torch.Generator().manual_seed(seed)
        self.made = 0
        """Batches so far."""
        self._states: deque[tuple[int, Tensor]] = deque(maxlen=AHEAD)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Tensor]:
        """One batch of padded ids [N, L] and labels [N, L]."""
        self._states.append((self.made, self.generator.get_state()))
        self.made += 1
        batch: dict[str, Tensor] = self.collate(features)
        ids, text = batch["input_ids"], batch["labels"] >= 0  # [N, L]
        dropped = text & (torch.rand(ids.shape, generator=self.generator) < self.share)
        words = ids[text]
        others = torch.randint(len(words), (int(dropped.sum()),), generator=self.generator)
        ids[dropped] = words[others]
        return batch

    def save(self, folder: Path, batches: int) -> None:
        """Write what the choice goes on from after so many batches, of which one more may have been made."""
        states = dict([*self._states, (self.made, self.generator.get_state())])
        save_file({"state": states[batches]}, folder / FILE.format(rank=rank()))

    def load(self, folder: Path, batches: int) -> None:
        """Go on from what `save` wrote after so many batches."""
        self.made = batches
        self.generator.set_state(load_file(folder / FILE.format(rank=rank()))["state"])
