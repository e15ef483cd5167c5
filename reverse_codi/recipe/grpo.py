"""Reinforcement learning."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field, PositiveInt

from reverse_codi.utils.config import Section

Keep = Literal["content", "match", "last"]


class Advantage(StrEnum):
    """What each token of a text gains."""

    TEXT = "text"
    """Every token gains what the text gains over its group (GRPO)."""
    PREFIX = "prefix"
    """Each token gains the text's reward less the mean of the other texts that begin alike up to there."""
    BRANCH = "branch"
    """Each token gains the mean of the texts that go on with it less that of those that begin alike."""


class GrpoSection(Section):
    """Reinforcement learning with GRPO."""

    steps: int = Field(default=100, ge=0)
    """Number of optimizer steps."""
    thoughts_per_step: int = Field(default=16, gt=0)
    """Thoughts in one optimizer step."""
    steps_per_generation: int = Field(default=1, ge=1)
    """Optimizer steps that share one batch of rollouts (TRL's steps_per_generation)."""
    iterations: int = Field(default=1, ge=1)
    """Times that a batch of rollouts is learnt from before the next is sampled (TRL's num_iterations). Each
    time takes steps_per_generation optimizer steps, which grpo.steps counts."""
    samples: int = Field(default=16, ge=2)
    """G, the number of texts sampled for each thought."""
    micro_batch: PositiveInt | Literal["auto"] = "auto"
    """Texts computed at once; the gradients of a step are added up, and the step is the same. auto: the whole
    batch if that takes 4 GiB at most, else as many as take 1 GiB; on a GPU what half of its free memory
    holds."""
    gradient_checkpointing: bool = False
    """Keep only each layer's input for the backward pass and compute the rest again: less memory, more time,
    the same step."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate, after the warm-up."""
    warmup_steps: int = Field(default=5, ge=0)
    """Optimizer steps in which the learning rate rises from 0 to its peak. The first of them changes
    nothing."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """Learning rate after the warm-up: constant, or a linear or cosine decay to 0."""
    beta: float = Field(default=0.02, ge=0)
    """Weight of the KL divergence from the warm start."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature."""
    max_new_tokens: int = Field(default=32, gt=0)
    """Longest text in tokens, end-of-text token included."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """What advantages are divided by: the standard deviation of the rewards in the group, in the batch, or
    nothing."""
    advantage: Advantage = Advantage.TEXT
    """What each token gains: what its text gains over the group (text), or by the texts of the group that
    begin alike (prefix, branch). Neither reads more."""
    clip: float = Field(default=0.2, gt=0)
    """Clipping range of the policy ratio (epsilon in GRPO). The ratio is 1, and nothing is clipped, where a
    batch serves one optimizer step only (iterations and steps_per_generation are 1)."""
    clip_high: float | None = Field(default=None, gt=0)
    """Clipping range above 1 (TRL's epsilon_high; clip-higher of DAPO, arXiv 2503.14476). By default as
    clip."""
    importance_clip: float = Field(default=2.0, gt=0)
    """Upper bound of the probability ratio of trainer to engine (truncated importance sampling)."""
    max_staleness: int = Field(default=0, ge=0, le=1)
    """Batches that the policy which samples may be behind. 0 samples a batch, then learns from it. 1 samples
    the next batch while one is learnt from, so actors and trainer work at the same time; the importance ratio
    weighs what the older policy wrote. A resumed run samples its first batch anew."""
    canary_tolerance: float | None = Field(default=None, gt=0)
    """Largest allowed difference between the log-probabilities of trainer and engine, in nats a token. By
    default .05, and .5 where an engine computes in half precision."""
    distractors: int = Field(default=15, ge=1)
    """Number of other thoughts of the same site that rewards can compare with."""
    eval_every: int = Field(default=10, gt=0)
    """Optimizer steps between held-out evaluations."""
    eval_thoughts: int = Field(default=512, gt=0)
    """Number of held-out thoughts evaluated during training."""
    keep: Keep = "content"
    """Which evaluated policy becomes the verbalizer: the best by content (uses gold claims of held-out
    problems), the best by match (uses no gold claims), or the last."""
    save_every: int = Field(default=20, gt=0)
    """Optimizer steps between checkpoints."""
    curriculum: Literal["none", "short_first"] = "none"
    """Order of the thoughts: none shuffles them, short_first starts with problems of few steps."""
    seed: int = 0
    """Seed of data order, sampling and distractors."""
