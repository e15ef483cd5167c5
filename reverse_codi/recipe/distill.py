"""How a reasoner is trained."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from reverse_codi.recipe.lora import LINEAR_LAYERS
from reverse_codi.recipe.traces import OnBad
from reverse_codi.utils.config import Section

WARM_UP = 100


class LoraSection(Section):
    """Low-rank training of a pretrained base; the defaults are CODI's (arXiv 2502.21074)."""

    rank: int = Field(default=128, gt=0)
    """LoRA rank."""
    alpha: int = Field(default=32, gt=0)
    """LoRA alpha; the update is scaled by alpha / rank."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """LoRA dropout."""
    target_modules: tuple[str, ...] = LINEAR_LAYERS
    """Linear layers that get a LoRA; for GPT-2 [c_attn, c_proj, c_fc]."""


class Recall(Section):
    """A first phase in which a new model recites statements that it has just read."""

    statements: int = Field(default=6, ge=2)
    """Statements in one recital."""
    starts_with: str = ""
    """Regular expression: recite only statements that begin with it; empty means all."""
    batch_size: int = Field(default=64, gt=0)
    """Recitals in one optimizer step."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """Learning rate, constant after a linear warm-up over 100 steps."""
    patience: int = Field(default=2500, gt=WARM_UP)
    """Steps after which an attempt that has not succeeded is given up."""
    attempts: int = Field(default=6, gt=0)
    """Number of attempts, each with newly drawn weights."""


class Phase(Section):
    """One training phase and its loss."""

    steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(default=96, gt=0)
    """Problems in one optimizer step."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak learning rate; linear warm-up over 3 % of the steps, then cosine decay."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay of AdamW."""
    student: float = Field(default=1.0, ge=0)
    """Weight of the loss on the answer after the thoughts; with `distill` 0 as well, the model does not
    think."""
    distill: float = Field(default=1.0, ge=0)
    """Weight of the distance between hidden states at the answer cue (b in CODI)."""
    hide_question: float = Field(default=0.5, ge=0, le=1)
    """Share of training rows whose answer cannot attend to the question; with coconut, of those rows that
    have no step left to write."""
    truncate: float = Field(default=0.0, ge=0, le=1)
    """Share of training rows whose answer sees only the first m thoughts; m is uniform from the number of
    steps to K. With coconut, of those rows that have no step left to write; m counts thoughts_per_step for
    each step and ends with the thoughts of the stage."""
    totals: float = Field(default=0.0, ge=0, le=1)
    """Share of training rows whose written solution lists running totals ("17 34", between the begin- and
    end-of-thought tokens) instead of claims."""


class DistillSection(Section):
    """How a reasoner is trained."""

    method: Literal["codi", "coconut"] = "codi"
    """codi (self-distillation; a projection follows each thought) or coconut (staged curriculum without a
    projection; it uses no loss weight and no totals of `latent`)."""

    out: str = "runs/tiny/reasoner"
    """Folder of checkpoints and of the finished reasoner."""
    base: str | None = None
    """Causal language model to start from: a folder, a hub id, a .gguf file, or PACKAGE:FILE.gguf for a file
    inside an installed package; empty means a new Llama of `shape` with the task's vocabulary."""
    lora: LoraSection | None = None
    """Train a LoRA, the projection and the added embeddings, and merge the LoRA at the end; empty means that
    all weights are trained."""
    shape: dict[str, Any] = {}
    """Arguments of LlamaConfig for a new model."""
    n_thoughts: int = Field(default=6, ge=0, le=64)
    """K, the number of thoughts; 0 trains a twin that does not think."""
    thoughts_per_step: int = Field(default=2, gt=0)
    """Only coconut: thoughts that replace one step; n_thoughts must be a multiple of it."""
    stage_steps: int = Field(default=0, ge=0)
    """Only coconut: optimizer steps of each stage but the last, which takes the rest of latent.steps; 0
    shares them evenly."""
    projection_width: int = Field(default=320, gt=0)
    """Hidden width of the projection; coconut has none."""
    projection_start: Literal["next_token", "random"] = "next_token"
    """Start of the projection: next_token (fitted to return the next token's embedding before the latent
    phase; slow with a large vocabulary) or random (as in CODI)."""
    max_written_tokens: int = Field(default=64, gt=0)
    """Longest solution in CoT mode, in tokens."""
    n_problems: int = Field(default=150_000, gt=0)
    """Number of distinct training problems."""
    seed: int = 0
    """Seed of weights, problems and data order."""
    threads: int = Field(default=0, ge=0)
    """Number of torch threads; 0 leaves the choice to torch."""
    save_steps: int = Field(default=200, gt=0)
    """Optimizer steps between checkpoints."""
    on_bad_question: OnBad = "error"
    """What to do if a problem with its solution exceeds the model's positions: error or skip."""
    recall: Recall | None = None
    """Optional first phase for tasks where facts must be looked up: a new model learns to recite what
    questions state."""
    written: Phase = Phase(steps=700, student=0.0, distill=0.0)
    """Phase that trains on written steps only."""
    latent: Phase = Phase(steps=3000)
    """Last phase: CODI, or all stages of Coconut, which share its steps (`stage_steps`)."""
