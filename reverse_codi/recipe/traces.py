"""Collecting traces."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reverse_codi.tasks.base import Split
from reverse_codi.utils.config import Section

OnBad = Literal["error", "skip"]
"""What to do with questions that the reasoner cannot take."""


class TraceSection(Section):
    """How traces are collected."""

    out: str = "runs/tiny/traces"
    """Folder of the trace store."""
    split: Split = Split.TRAIN
    """Split that the questions come from: train or heldout."""
    n: int = Field(default=20_000, gt=0)
    """Number of questions."""
    n_heldout: int = Field(default=1_000, gt=0)
    """Number of held-out questions that evaluate training; they have a store of their own beside `out`."""
    seed: int = 1
    """Seed of the questions."""
    shard_rows: int = Field(default=5_000, gt=0)
    """Traces in one shard."""
    batch_size: int = Field(default=1_000, gt=0)
    """Questions that the reasoner gets at once."""
    on_bad_question: OnBad = "error"
    """What to do if a question is empty or longer than the model's positions: error, or skip, which makes
    fewer traces."""

    @property
    def heldout_out(self) -> str:
        """Folder of the held-out traces."""
        return f"{self.out}-heldout"
