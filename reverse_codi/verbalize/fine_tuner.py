"""TRL's trainer for pairs of thoughts and texts, which a signal stops with a checkpoint to go on from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trl import SFTTrainer

from reverse_codi.processes import stopping
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS, last_complete_checkpoint, steps_of
from reverse_codi.trainers.stop import train_on
from reverse_codi.trainers.whole_checkpoints import WholeCheckpoints
from reverse_codi.verbalize.micro_batches import MicroBatches
from reverse_codi.verbalize.word_dropout import WordDropout

PATTERN = "checkpoint-*"
"""Of the folders that a stopped fine-tuning leaves in its folder."""


class FineTuner(WholeCheckpoints, MicroBatches, SFTTrainer):
    """TRL's trainer with a batch in parts; its checkpoints hold the random state of the word dropout.

    Attributes:
        dropout: collates the batches; None where no words are dropped.
    """

    mask_name = "attention_mask"
    dropout: WordDropout | None = None

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: the folder is gone once the fine-tuning is over."""

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        if self.dropout is not None:
            self.dropout.save(Path(output_dir), self.state.global_step)

    def go_on(self, checkpoint: str | None) -> None:
        """Train to the end, from a checkpoint that a stopped fine-tuning left, or from the start."""
        if checkpoint is not None and self.dropout is not None:
            self.dropout.load(Path(checkpoint), steps_of(checkpoint))
        train_on(self, checkpoint)


def left(out: Path) -> str | None:
    """The checkpoint that a stopped fine-tuning left in `out`; None without one."""
    return last_complete_checkpoint(out, POLICY_WEIGHTS)


@contextmanager
def stoppable(wanted: bool) -> Iterator[None]:
    """Train in the block; where `wanted`, a signal lets it end by itself, see `StopWhenAsked`.

    Raises:
        StopAsked: a signal asked for the end.
    """
    if not wanted:
        yield
        return
    with stopping.deferred():
        yield


def clear(out: Path) -> None:
    """Delete the checkpoints of a fine-tuning whose result is kept elsewhere."""
    for folder in out.glob(PATTERN):
        shutil.rmtree(folder)
