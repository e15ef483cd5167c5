"""A training run as a whole, and where its figures go."""

from __future__ import annotations

from pydantic import Field

from reverse_codi.utils.config import Section


class TrainSection(Section):
    """A training run as a whole."""

    out: str = "runs/tiny/train"
    """Folder for everything that the run writes."""
    threads: int = Field(default=0, ge=0)
    """Number of torch threads of the trainer; 0 leaves the choice to torch."""


class LogSection(Section):
    """Where figures go besides metrics.jsonl."""

    wandb: bool = True
    """Log to Weights & Biases; offline unless the user is logged in."""
    project: str = "reverse_codi"
    """W&B project."""
