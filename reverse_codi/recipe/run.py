"""A training run as a whole, and where its figures go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from reverse_codi.utils.config import Section

TrackerName = Literal["wandb", "tensorboard", "trackio"]


class TrainSection(Section):
    """A training run as a whole."""

    out: str = "runs/tiny/train"
    """Folder for everything that the run writes."""
    threads: int = Field(default=0, ge=0)
    """Number of torch threads of the trainer; 0 leaves the choice to torch."""
    stall_s: float = Field(default=7200, ge=0)
    """Seconds in which something must move (a step, an answer of an actor, an item of a progress bar). Else
    the run writes what is stuck and all stacks to stalled.txt in `out`, and ends with status 75. It must be
    longer than one optimizer step, and than a request with its second try (twice rollout.timeout_s or
    reward.timeout_s). 0 never ends a run."""
    workers: int = Field(default=1, ge=1)
    """Trainers that share each batch of the warm start, of distillations and of GRPO. Several run under Ray
    Train, on any machines of the cluster (placement.trainer_cpus, placement.trainer_gpus). The steps stay
    those of one: losses differ by rounding, and by the words that word dropout draws. `out` has to lie where
    all of them can read it."""


class LogSection(Section):
    """Where figures go besides metrics.jsonl."""

    report_to: list[TrackerName] = ["wandb"]
    """Trackers: wandb (offline unless the user is logged in), tensorboard, trackio; [] for none."""
    project: str = "reverse_codi"
    """Project of W&B and trackio."""
    completions: int = Field(default=64, ge=0)
    """Number of texts with their rewards that a tracker shows of each step; completions.jsonl has all."""
    artifacts: bool = True
    """Keep the finished verbalizer, the files of an evaluation and reports as artifacts of the tracker."""

    @model_validator(mode="before")
    @classmethod
    def _older_key(cls, values: Any) -> Any:
        """`wandb: true|false`, as recipes and the recipe.yaml of older runs have it."""
        if not isinstance(values, Mapping) or "wandb" not in values:
            return values
        rest = {key: value for key, value in values.items() if key != "wandb"}
        if "report_to" in rest or not isinstance(values["wandb"], bool):
            raise ValueError("wandb is the older key; give report_to alone, a list such as [wandb], or []")
        return {**rest, "report_to": ["wandb"] if values["wandb"] else []}

    @field_validator("report_to", mode="before")
    @classmethod
    def _as_a_list(cls, value: Any) -> Any:
        """One name, "none" or null, as transformers takes them; each name once."""
        if value is None or value == "none":
            return []
        names = [value] if isinstance(value, str) else value
        named = isinstance(names, list) and all(isinstance(name, str) for name in names)
        return list(dict.fromkeys(names)) if named else names
