"""A Trainer's figures, sent to the open run of its stage.

transformers has a callback for each tracker (`report_to`). They do not share a run with others: trackio's
begins and ends runs of its own, TensorBoard's writes a second event file beside ours, and W&B's takes the
global run, of which there is one at a time. This one sends the same figures under the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transformers import PretrainedConfig, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import rewrite_logs


class Reporting(TrainerCallback):
    """Sends what a Trainer logs, and its arguments.

    Args:
        log: takes figures and their step.
        configure: takes settings.
    """

    def __init__(
        self,
        log: Callable[[Mapping[str, Any], int], None],
        configure: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.log = log
        self.configure = configure

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Send the arguments, without tokens, and the model's configuration."""
        settings = {"trainer": args.to_dict()}
        config = getattr(kwargs.get("model"), "config", None)
        if isinstance(config, PretrainedConfig):
            settings["model"] = config.to_dict()
        self.configure(settings)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Send one log: "loss" as "train/loss", as transformers' own callbacks do."""
        self.log(rewrite_logs(logs or {}), state.global_step)
