"""Training a CODI reasoner: written steps first, then self-distillation into thoughts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_model
from torch import Tensor, nn
from transformers import (
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from reverse_codi.processes import stopping
from reverse_codi.reasoners.distill.data import Collator, ProblemRows
from reverse_codi.reasoners.distill.loss import Batch, codi_terms
from reverse_codi.reasoners.distill.mixed_precision import training_precision
from reverse_codi.reasoners.latent_lm import LatentLM
from reverse_codi.recipe.distill import Phase
from reverse_codi.trainers.checkpoints import WEIGHTS, checkpoint_to_resume, set_aside
from reverse_codi.trainers.finite_steps import StopAtNonFinite
from reverse_codi.trainers.mirrors import PushCheckpoints
from reverse_codi.trainers.progress import steps_shown
from reverse_codi.trainers.stop import StopWhenAsked, train_on
from reverse_codi.trainers.whole_checkpoints import WholeCheckpoints

log = logging.getLogger(__name__)


class DistillTrainer(WholeCheckpoints, Trainer):
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
            terms = codi_terms(
                model, Batch(**inputs), with_student=self.phase.student + self.phase.distill > 0
            )
            loss = terms.teacher + self.phase.student * terms.student + self.phase.distill * terms.distill
        for name, value in vars(terms).items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
        self._count += 1
        return loss

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save a checkpoint; the Trainer's own method refuses tied embeddings of an unknown model."""
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.accelerator.unwrap_model(self.model), str(folder / "model.safetensors"))
        torch.save(self.args, folder / "training_args.bin")

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Let only the tied tensors that `_save` leaves out be missing.

        The Trainer would look for a PreTrainedModel's own list of such tensors.
        """
        tensors = self.accelerator.unwrap_model(self.model).state_dict()
        loaded = {tensors[name].data_ptr() for name in tensors.keys() - set(load_result.missing_keys)}
        lost = [name for name in load_result.missing_keys if tensors[name].data_ptr() not in loaded]
        if lost or load_result.unexpected_keys:
            raise ValueError(
                f"the checkpoint does not fit the recipe's model: missing {lost}, unknown "
                f"{load_result.unexpected_keys}; give another distill.out"
            )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means of the terms since the last log."""
        if self._count and "loss" in logs:
            logs |= {f"loss/{name}": total / self._count for name, total in self._sums.items()}
            self._sums, self._count = {}, 0
        super().log(logs, start_time)


@dataclass(frozen=True, kw_only=True)
class PhaseJob:
    """How one phase is trained, and where.

    Attributes:
        phase: hyperparameters.
        out: folder of checkpoints and logs.
        seed: of data order and visibility.
        save_steps: optimizer steps between checkpoints.
        reporting: callbacks that send the trainer's figures to trackers.
    """

    phase: Phase
    out: Path
    seed: int
    save_steps: int
    reporting: Sequence[TrainerCallback] = ()


def train_phase(
    model: LatentLM,
    tokenizer: PreTrainedTokenizerBase,
    rows: ProblemRows,
    job: PhaseJob,
    *,
    trainer_of: Callable[..., DistillTrainer] = DistillTrainer,
    collator: Callable[..., dict[str, Tensor]] | None = None,
) -> None:
    """Train `model` in place; resumes from the newest checkpoint in `job.out` if there is one.

    Args:
        model: language model and projection.
        tokenizer: for the padding id.
        rows: training problems.
        job: hyperparameters and folder.
        trainer_of: makes the trainer, which defines the loss.
        collator: makes batches of rows; CODI's if None.

    Raises:
        NotFiniteError: weights are not finite after a step; they are not saved.
        DamagedError: every checkpoint in `job.out` is damaged.
        StopAsked: a signal asked for the end; a checkpoint of the last step is saved.
    """
    phase, out = job.phase, job.out
    if collator is None:
        shares = phase.hide_question, phase.truncate, phase.totals
        collator = Collator(tokenizer.pad_token_id, model.eot_id, model.n_thoughts, *shares)
    section = "written" if out.name == "written" else "latent"  # Coconut's stages share the latter
    with training_precision(model.lm, on_cpu=not torch.cuda.is_available()) as precision:
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
            seed=job.seed,
            data_seed=job.seed,
            logging_steps=50,
            logging_nan_inf_filter=False,
            save_steps=job.save_steps,
            save_total_limit=2,
            remove_unused_columns=False,
            label_names=[],
            report_to="none",  # `job.reporting` sends them
            disable_tqdm=True,
            **precision,
        )
        trainer = trainer_of(
            phase=phase,
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=collator,
            callbacks=[
                StopWhenAsked(f"phase {out.name}"),
                StopAtNonFinite(f"distill.{section}.learning_rate", out),
                PushCheckpoints(),
                *job.reporting,
            ],
        )
        checkpoint = checkpoint_to_resume(out, WEIGHTS, f"move {out} away to train the phase anew")
        set_aside(checkpoint, log.warning)
        with steps_shown(trainer, f"phase {out.name}"), stopping.deferred():
            train_on(trainer, checkpoint.folder)
