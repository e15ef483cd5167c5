"""The policy, and its supervised fine-tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reverse_codi.recipe.lora import LINEAR_LAYERS
from reverse_codi.utils.config import Section


class VerbalizerSection(Section):
    """The policy."""

    rank: int = Field(default=32, gt=0)
    """LoRA rank."""
    alpha: int = Field(default=64, gt=0)
    """LoRA alpha."""
    target_modules: list[str] = list(LINEAR_LAYERS)
    """Linear layers that get a LoRA."""
    template: str = "{thought}"
    """Prompt; `{thought}` is the slot, repeated K times for target `answer`."""


class WarmStartSection(Section):
    """Supervised fine-tuning before RL."""

    kind: Literal["written", "nearest", "gold"] = "written"
    """Without labels: written (the model's self-generated CoT, ending with the answer that the trace gave) or
    nearest (of those and of sampled ones the steps that read nearest to the thought). With labels: gold
    (claims of the task)."""
    problems: int = Field(default=0, ge=0)
    """Training problems whose thoughts are taught, the first ones; 0 for all. Labels may be scarcer than
    questions: maps, nearest texts and RL need none."""
    steps: int = Field(default=2000, ge=0)
    """Optimizer steps."""
    batch_size: int = Field(default=256, gt=0)
    """Thoughts a step."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """Peak rate; cosine."""
    eval_steps: int = Field(default=250, gt=0)
    """Steps between the points of the curve."""
    seed: int = 0
    """Of data order and LoRA."""
    samples: int = Field(default=1, ge=0)
    """nearest: sampled solutions a question beside the greedy one."""
    word_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of a text's tokens that are read as another one while the next is learnt."""
    disagreeing: int = Field(default=12, ge=1)
    """Without labels: times that thoughts are taught whose trace answers otherwise than the written steps."""
