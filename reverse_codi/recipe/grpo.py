"""Reinforcement learning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reverse_codi.utils.config import Section

Keep = Literal["content", "match", "last"]


class GrpoSection(Section):
    """Reinforcement learning."""

    steps: int = Field(default=100, ge=0)
    """Optimizer steps."""
    thoughts_per_step: int = Field(default=16, gt=0)
    """Thoughts a step."""
    steps_per_generation: int = Field(default=1, ge=1)
    """Optimizer steps that share one batch of rollouts, which is then as many times larger (TRL's word)."""
    samples: int = Field(default=16, ge=2)
    """G, texts a thought."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak rate, after a warm-up of 5 steps."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """What the rate does after the warm-up; all but constant end at 0."""
    beta: float = Field(default=0.02, ge=0)
    """Weight of the KL to the warm start."""
    temperature: float = Field(default=1.0, gt=0)
    """Of sampling."""
    max_new_tokens: int = Field(default=32, gt=0)
    """Longest text, eos included."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """What a group's advantages are divided by: the spread of its own rewards, of the batch's, or nothing."""
    clip: float = Field(default=0.2, gt=0)
    """Clipping range of the policy ratio."""
    importance_clip: float = Field(default=2.0, gt=0)
    """Upper bound of the trainer / engine probability ratio (truncated importance sampling)."""
    canary_tolerance: float = Field(default=0.05, gt=0)
    """Largest allowed difference of trainer and engine log-probabilities, in nats a token."""
    distractors: int = Field(default=15, ge=1)
    """Other thoughts of the same site shown to the rewards."""
    eval_every: int = Field(default=10, gt=0)
    """Steps between held-out evaluations."""
    eval_thoughts: int = Field(default=512, gt=0)
    """Held-out thoughts evaluated during training."""
    keep: Keep = "content"
    """Which evaluated policy becomes the verbalizer: best by content, which takes gold claims of held-out
    problems, best by match, which takes none, or the last."""
    save_every: int = Field(default=20, gt=0)
    """Steps between checkpoints."""
    curriculum: Literal["none", "short_first"] = "none"
    """Order of the thoughts: shuffled, or those that the run will see by their problem's number of steps."""
    seed: int = 0
    """Of data order, sampling and distractors."""
