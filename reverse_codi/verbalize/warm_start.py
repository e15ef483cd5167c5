"""Warm start: supervised fine-tuning of the verbalizer on (thought, text) pairs.

Shapes: N pairs, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from datasets import Dataset
from torch import Tensor
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig

from reverse_codi.processes.workers import AgreeOnControl, rank, share_of
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.mixed_precision import training_precision
from reverse_codi.recipe.schema import Recipe
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.trainers.finite_steps import StopAtNonFinite
from reverse_codi.trainers.progress import steps_shown
from reverse_codi.trainers.stop import StopWhenAsked
from reverse_codi.utils.micro_batch import Shape, free_memory, micro_batch
from reverse_codi.verbalize.config import VerbalizerConfig
from reverse_codi.verbalize.fine_tuner import FineTuner, left, stoppable
from reverse_codi.verbalize.micro_batches import checkpointing, end_checkpointing
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.with_others import SharedPolicy, with_others
from reverse_codi.verbalize.word_dropout import WordDropout


@dataclass(frozen=True)
class SftPairs:
    """Thoughts with their target texts.

    Attributes:
        vectors: [N, S, d], what enters the S slots.
        texts: N targets.
    """

    vectors: Tensor
    texts: Sequence[str]


def encode(
    pairs: SftPairs, verbalizer_config: VerbalizerConfig, tokenizer: PreTrainedTokenizerBase
) -> Dataset:
    """Token ids and labels; slot s of row i indexes bank row i * S + s."""
    slots = pairs.vectors.shape[1]
    prompts = (
        verbalizer_config.build_prompt(tokenizer, list(range(i * slots, (i + 1) * slots)))
        for i in range(len(pairs.texts))
    )
    return examples(prompts, pairs.texts, tokenizer)


def examples(
    prompts: Iterable[list[int]], texts: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> Dataset:
    """Prompt ids, then a text and the end token; only these two are labels."""
    targets = tokenizer(list(texts), add_special_tokens=False).input_ids

    def rows() -> Any:
        for prompt, target in zip(prompts, targets, strict=True):
            answer = [*target, tokenizer.eos_token_id]
            yield {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}

    return Dataset.from_list(list(rows()))


class Curve(TrainerCallback):
    """Calls `evaluate(step)` every few steps and at the end."""

    def __init__(self, every: int, evaluate: Callable[[int], None]) -> None:
        self.every = every
        self.evaluate = evaluate

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """One point of the curve."""
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self.evaluate(state.global_step)


@dataclass(frozen=True, kw_only=True)
class SftJob:
    """What is said of a fine-tuning, and how its rate falls.

    Attributes:
        title: beside its progress; the name of its folder if empty.
        schedule: of the learning rate after its warmup, a name that transformers knows.
        reporting: callbacks that send the trainer's figures to trackers.
        resumable: a signal leaves a checkpoint in the folder, which the next call with the same pairs goes on
            from.
    """

    title: str = ""
    schedule: str = "cosine"
    reporting: Sequence[TrainerCallback] = ()
    resumable: bool = False


def fine_tune(
    policy: Policy,
    pairs: SftPairs,
    section: WarmStartSection,
    out: Path,
    job: SftJob = SftJob(),
    *,
    on_point: Callable[[int], None] | None = None,
) -> None:
    """Fine-tune a policy's LoRA weights in place on thoughts with texts; other arguments as in `fit`.

    Args:
        policy: the verbalizer.
        pairs: training thoughts with texts.
        section: hyperparameters.
        out: folder of the trainer's logs.
        job: its title, schedule and trackers.
        on_point: called with the step every `eval_steps` and at the end, with the model in evaluation mode.
    """

    def evaluate(step: int) -> None:
        assert on_point is not None
        policy.model.eval()
        on_point(step)
        policy.model.train()

    dataset = encode(pairs, policy.verbalizer_config, policy.tokenizer)
    curve = [] if on_point is None else [Curve(section.eval_steps, evaluate)]
    if curve and section.steps == 0:
        evaluate(0)
    with policy.embedding.bank(pairs.vectors.flatten(0, 1)):
        fit(policy, dataset, section, out, job, callbacks=curve)


def fit(
    policy: Policy,
    dataset: Dataset,
    section: WarmStartSection,
    out: Path,
    job: SftJob = SftJob(),
    *,
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Fine-tune a policy's LoRA weights in place on examples; the bank that they index is in use already.

    Args:
        policy: the verbalizer.
        dataset: what `examples` makes.
        section: hyperparameters; 0 steps change nothing.
        out: folder of the trainer's logs.
        job: its title, schedule and trackers.
        callbacks: called while training.
    """
    if section.steps == 0:  # the Trainer would take 0 for "until the epochs are over"
        return
    collate: Callable[[Any], Any] = DataCollatorForSeq2Seq(
        policy.tokenizer, padding=True, label_pad_token_id=-100
    )
    if section.word_dropout:
        collate = WordDropout(collate, section.word_dropout, section.seed + rank())
    title = job.title or out.name
    stop = [StopWhenAsked(title)] if job.resumable else []
    lm = cast(PreTrainedModel, policy.model.get_base_model())
    with training_precision(lm, on_cpu=lm.device.type == "cpu") as precision:
        trainer = FineTuner(
            model=policy.model,
            args=SFTConfig(
                output_dir=str(out),
                max_steps=section.steps,
                per_device_train_batch_size=share_of(section.batch_size),
                ddp_broadcast_buffers=False,
                ddp_find_unused_parameters=False,
                learning_rate=section.learning_rate,
                lr_scheduler_type=job.schedule,
                warmup_steps=max(1, section.steps // 50),
                max_grad_norm=1.0,
                seed=section.seed,
                data_seed=section.seed,
                logging_steps=50,
                logging_nan_inf_filter=False,
                save_strategy="no",
                remove_unused_columns=False,
                dataset_kwargs={"skip_prepare_dataset": True},  # these are examples already
                max_length=None,
                report_to="none",  # `job.reporting` sends them
                disable_tqdm=True,
                **checkpointing(section.gradient_checkpointing),
                **precision,
            ),
            train_dataset=dataset,
            data_collator=collate,
            processing_class=policy.tokenizer,
            callbacks=[
                *stop,
                StopAtNonFinite("warm_start.learning_rate"),
                *callbacks,
                *job.reporting,
                AgreeOnControl(),
            ],
        )
        trainer.micro_batch = rows_of(policy, dataset, section)
        trainer.dropout = collate if isinstance(collate, WordDropout) else None
        shared = partial(SharedFit, dataset=dataset, section=section, out=out, job=replace(job, reporting=()))
        with (
            with_others(policy, out, shared),
            steps_shown(trainer, title),
            stoppable(job.resumable),
        ):
            trainer.go_on(left(out) if job.resumable else None)
        end_checkpointing(policy.model)
        # Else every later forward of the model, GRPO's too, would go on in bfloat16: accelerate wraps it.
        trainer.accelerator.unwrap_model(policy.model, keep_fp32_wrapper=False)


@dataclass(frozen=True)
class SharedFit:
    """A fine-tuning as another worker takes part in it.

    Attributes:
        policy: before training.
        dataset: what `examples` makes.
        section: hyperparameters.
        out: folder of the trainer's logs.
        job: its title and schedule, without trackers.
    """

    policy: SharedPolicy
    dataset: Dataset
    section: WarmStartSection
    out: Path
    job: SftJob

    def __call__(self, reasoner: CodiReasoner, recipe: Recipe) -> None:
        """Fine-tune together with the first worker."""
        with self.policy.loaded(reasoner) as policy:
            fit(policy, self.dataset, self.section, self.out, self.job)


def rows_of(policy: Policy, dataset: Dataset, section: WarmStartSection) -> int:
    """Examples of one forward pass."""
    return micro_batch(
        section.micro_batch,
        share_of(section.batch_size),
        max(map(len, dataset["input_ids"])),
        Shape.of(policy.model.config),
        gradient_checkpointing=section.gradient_checkpointing,
        free=free_memory(policy.embedding.weight.device),
    )
