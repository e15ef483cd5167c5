"""A Trainer's checkpoints at the URL of a run, as soon as each is saved."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from reverse_codi.storage.mirrors import push_all


class PushCheckpoints(TrainerCallback):
    """Pushes what is mirrored in this process after each checkpoint; nothing where nothing is."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Push."""
        push_all()
