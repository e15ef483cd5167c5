"""Training a CODI reasoner: written steps first, then self-distillation into thoughts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import (
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from reverse_codi.config import Section
from reverse_codi.reasoners import attention
from reverse_codi.reasoners.distill_data import Collator, ProblemRows, Visibility
from reverse_codi.reasoners.distillation import Batch, codi_terms
from reverse_codi.reasoners.latent_lm import LatentLM


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
    staged: float = Field(default=0.0, ge=0, le=1)
    """Share of staged rows at the start; falls linearly to 0."""
    staged_until: float = Field(default=0.5, gt=0, le=1)
    """Part of the phase after which no row is staged."""
    thoughts_per_step: float = Field(default=1.5, gt=0)
    """Thoughts that a staged row spends on each step that it does not write."""


class DistillTrainer(Trainer):
    """Hugging Face Trainer with CODI's loss; every term is logged."""

    def __init__(self, phase: Phase, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.phase = phase
        self._sums: dict[str, float] = {}
        self._count = 0

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Weighted sum of the three terms."""
        assert isinstance(model, LatentLM)
        with self.compute_loss_context_manager():
            terms = codi_terms(model, Batch(**inputs), with_student=self.phase.student + self.phase.distill > 0)
            loss = terms.teacher + self.phase.student * terms.student + self.phase.distill * terms.distill
        for name, value in vars(terms).items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
        self._count += 1
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means of the terms since the last log."""
        if self._count and "loss" in logs:
            logs |= {f"loss/{name}": total / self._count for name, total in self._sums.items()}
            self._sums, self._count = {}, 0
        super().log(logs, start_time)


class Curriculum(TrainerCallback):
    """Lowers the share of staged rows as training goes on."""

    def __init__(self, phase: Phase, visibility: Visibility) -> None:
        self.phase = phase
        self.visibility = visibility

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the share for this step; right after a resume too."""
        done = state.global_step / (self.phase.steps * self.phase.staged_until)
        self.visibility.staged = self.phase.staged * max(0.0, 1.0 - done)


def train_phase(
    model: LatentLM,
    tokenizer: PreTrainedTokenizerBase,
    rows: ProblemRows,
    phase: Phase,
    out: Path,
    *,
    seed: int,
    save_steps: int,
    report_to: str,
) -> None:
    """Train `model` in place; resumes from the newest checkpoint in `out` if there is one.

    Args:
        model: language model and projection.
        tokenizer: for the padding id.
        rows: training problems.
        phase: hyperparameters.
        out: folder of checkpoints and logs.
        seed: of data order and visibility.
        save_steps: optimizer steps between checkpoints.
        report_to: "wandb" or "none".
    """
    visibility = Visibility(phase.hide_question, phase.staged, phase.thoughts_per_step)
    on_cpu = not torch.cuda.is_available()
    if on_cpu:
        attention.register()
        model.lm.set_attn_implementation(attention.FLOAT32_SDPA)
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=phase.steps,
        per_device_train_batch_size=phase.batch_size,
        learning_rate=phase.learning_rate,
        weight_decay=phase.weight_decay,
        warmup_steps=max(1, int(0.03 * phase.steps)),
        lr_scheduler_type="cosine",
        adam_beta2=0.98,
        max_grad_norm=1.0,
        bf16=True,
        use_cpu=on_cpu,
        seed=seed,
        data_seed=seed,
        logging_steps=50,
        save_steps=save_steps,
        save_total_limit=2,
        remove_unused_columns=False,
        dataloader_pin_memory=not on_cpu,
        label_names=[],
        report_to=report_to,
        disable_tqdm=False,
    )
    trainer = DistillTrainer(
        phase,
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=Collator(tokenizer.pad_token_id, model.eot_id, model.n_thoughts, visibility),
        callbacks=[Curriculum(phase, visibility)],
    )
    last = get_last_checkpoint(str(out)) if out.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    if on_cpu:
        model.lm.set_attn_implementation("sdpa")
