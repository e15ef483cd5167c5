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
    """LoRA alpha; what is learnt counts alpha / rank."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """LoRA dropout."""
    target_modules: tuple[str, ...] = LINEAR_LAYERS
    """Linear layers that get a LoRA; GPT-2's are [c_attn, c_proj, c_fc]."""


class Recall(Section):
    """Reciting statements before solutions are learnt."""

    statements: int = Field(default=6, ge=2)
    """Statements of one recital."""
    starts_with: str = ""
    """Recite only statements that begin so (a regular expression); empty: all."""
    batch_size: int = Field(default=64, gt=0)
    """Recitals a step."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """Constant after a linear warm-up over 100 steps."""
    patience: int = Field(default=2500, gt=WARM_UP)
    """Steps after which an attempt that does not know the statements yet is given up."""
    attempts: int = Field(default=6, gt=0)
    """Attempts, each with weights of its own."""


class Phase(Section):
    """One phase of training and its loss."""

    steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(default=96, gt=0)
    """Problems a step."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak rate; linear warm-up over 3 %, then cosine."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's."""
    student: float = Field(default=1.0, ge=0)
    """Weight of the answer's loss after the thoughts; with `distill` 0 too, the thoughts are skipped."""
    distill: float = Field(default=1.0, ge=0)
    """Weight of the hidden-state distance at the answer cue (b of CODI)."""
    hide_question: float = Field(default=0.5, ge=0, le=1)
    """Share of rows whose answer cannot see the question."""
    truncate: float = Field(default=0.0, ge=0, le=1)
    """Share of rows whose answer sees only the first m thoughts, m uniform from the number of steps to K."""
    totals: float = Field(default=0.0, ge=0, le=1)
    """Share of rows whose written solution is running totals ("17 34", between the begin- and
    end-of-thought tokens) instead of claims."""


class DistillSection(Section):
    """Training a reasoner."""

    method: Literal["codi", "coconut"] = "codi"
    """codi (self-distillation into thoughts that pass a projection) or coconut (staged curriculum, thoughts
    fed as they are: of `latent`, only steps, batch_size, learning_rate and weight_decay count)."""

    out: str = "runs/tiny/reasoner"
    """Folder of checkpoints and of the finished reasoner."""
    base: str | None = None
    """Causal LM to start from: a folder, a hub id, a .gguf file, or PACKAGE:FILE.gguf for one that an
    installed package carries; empty: a new Llama of `shape` with the task's vocabulary."""
    lora: LoraSection | None = None
    """Train a LoRA beside the base's weights, the projection and the added embeddings, and merge at the end;
    empty: train all weights."""
    shape: dict[str, Any] = {}
    """LlamaConfig arguments of a new model."""
    n_thoughts: int = Field(default=6, ge=0, le=64)
    """K; 0 trains the twin that does not think."""
    thoughts_per_step: int = Field(default=2, gt=0)
    """coconut: thoughts that stand for one step; n_thoughts is a multiple of it."""
    projection_width: int = Field(default=320, gt=0)
    """Hidden width of prj; coconut has none."""
    projection_start: Literal["next_token", "random"] = "next_token"
    """next_token (fitted to hand on the next token's embedding before the latent phase, which costs much
    with a large vocabulary) or random, as CODI has it."""
    max_written_tokens: int = Field(default=64, gt=0)
    """Longest solution in CoT mode; a model that writes no end is stopped there."""
    n_problems: int = Field(default=150_000, gt=0)
    """Distinct training problems."""
    seed: int = 0
    """Of weights, problems and data order."""
    threads: int = Field(default=0, ge=0)
    """torch threads; 0 leaves torch's choice."""
    save_steps: int = Field(default=200, gt=0)
    """Optimizer steps between checkpoints."""
    on_bad_question: OnBad = "error"
    """What to do where a problem with its solution is longer than the base's positions: error or skip."""
    recall: Recall | None = None
    """First of all a new model learns to recite what questions state, for tasks with things to look up."""
    written: Phase = Phase(steps=700, student=0.0, distill=0.0)
    """Written steps only."""
    latent: Phase = Phase(steps=3000)
    """Last phase: CODI, or all of Coconut's stages, which share its steps evenly."""
