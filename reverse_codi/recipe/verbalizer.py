"""The verbalizer, and its supervised fine-tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from reverse_codi.recipe.lora import LINEAR_LAYERS
from reverse_codi.utils.config import Section


class VerbalizerSection(Section):
    """The LoRA and the prompt of the verbalizer."""

    rank: int = Field(default=32, gt=0)
    """LoRA rank."""
    alpha: int = Field(default=64, gt=0)
    """LoRA alpha."""
    target_modules: list[str] = list(LINEAR_LAYERS)
    """Linear layers that get a LoRA; for GPT-2 [c_attn, c_proj, c_fc]."""
    template: str = "{thought}"
    """Prompt of the verbalizer; {thought} is the slot, which target answer repeats K times."""


class WarmStartSection(Section):
    """Supervised fine-tuning before RL."""

    kind: Literal["written", "nearest", "gold", "shuffled"] = "written"
    """Targets. Without labels: written (the model's self-generated CoT, ending with the answer of the trace)
    or nearest (of these and of sampled solutions, the steps that read nearest to the thought). With labels:
    gold (claims of the task). Without any pair: shuffled (claims of the task, dealt out to thoughts at
    random, which teaches what claims look like and nothing of any thought)."""
    problems: int = Field(default=0, ge=0)
    """Number of training problems with targets; 0 means all. Labels may be scarcer than questions: maps,
    nearest texts and RL need none."""
    steps: int = Field(default=2000, ge=0)
    """Number of optimizer steps."""
    batch_size: int = Field(default=256, gt=0)
    """Thoughts in one optimizer step."""
    micro_batch: PositiveInt | Literal["auto"] = "auto"
    """Thoughts computed at once; the gradients of a step are added up, and the step is the same. auto: the
    whole batch if that takes 4 GiB at most, else as many as take 1 GiB; on a GPU what half of its free memory
    holds."""
    gradient_checkpointing: bool = False
    """Keep only each layer's input for the backward pass and compute the rest again: less memory, more time,
    the same step."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """Peak learning rate, with cosine decay."""
    eval_steps: int = Field(default=250, gt=0)
    """Optimizer steps between evaluations."""
    seed: int = 0
    """Seed of data order and LoRA."""
    samples: int = Field(default=1, ge=0)
    """Only nearest: sampled solutions for each question besides the greedy one."""
    word_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of a target's tokens that are replaced at random while the next token is learned."""
    disagreeing: int = Field(default=12, ge=1)
    """Only without labels: how often a thought counts whose trace and written steps give different
    answers."""
