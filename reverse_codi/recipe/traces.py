"""Collecting traces."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reverse_codi.tasks.base import Split
from reverse_codi.utils.config import Section

OnBad = Literal["error", "skip"]
"""What to do with questions that the reasoner cannot be asked."""


class TraceSection(Section):
    """Collecting traces."""

    out: str = "runs/tiny/traces"
    """Folder of the trace store."""
    split: Split = Split.TRAIN
    """train or heldout."""
    n: int = Field(default=20_000, gt=0)
    """Questions."""
    n_heldout: int = Field(default=1_000, gt=0)
    """Held-out questions that training is judged on, in a store of their own beside `out`."""
    seed: int = 1
    """Of the questions drawn."""
    shard_rows: int = Field(default=5_000, gt=0)
    """Rows a shard."""
    batch_size: int = Field(default=1_000, gt=0)
    """Questions handed to the reasoner at once."""
    on_bad_question: OnBad = "error"
    """What to do where the reasoner cannot be asked a question (it is empty, or longer than the model's
    positions): error, or skip, which makes fewer traces."""
