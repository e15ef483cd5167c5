"""GRPO on thoughts: TRL's trainer around rollouts that come from elsewhere (`training.rollouts`).

TRL does advantages (but for those of `training.advantages`), importance correction, KL to the warm start (the
adapter that training started from) and the loss.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from reverse_codi.processes import under_way
from reverse_codi.processes.workers import AgreeOnControl, n_workers, share_of
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.registry import find_functions
from reverse_codi.storage.cards import write_card
from reverse_codi.trainers.checkpoints import steps_of, take_rate
from reverse_codi.trainers.whole_checkpoints import WholeCheckpoints
from reverse_codi.training.advantages import Advantages
from reverse_codi.training.distinct_texts import DistinctTexts
from reverse_codi.training.importance import ImportanceCorrection
from reverse_codi.utils.micro_batch import Shape, free_memory, micro_batch
from reverse_codi.verbalize.micro_batches import MicroBatches, checkpointing
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.publishing.adapter_card import checkpoints_card

# TRL says in every run that `rollout_func` is experimental. Contract tests pin what we lean on.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

RolloutFunc = Callable[[list[str], GRPOTrainer], dict[str, list[Any]]]
"""TRL's: prompts in, each repeated G times in a run; columns out."""


TOTAL = "total"
"""The extra column of weighted sums, for advantages that TRL does not compute."""


def column(name: str) -> str:
    """The extra column under which a reward travels through TRL."""
    return f"reward_{name}"


def carried(name: str) -> Callable[..., list[float | None]]:
    """A TRL reward function that hands on what the reward actors computed."""

    def function(**columns: Any) -> list[float | None]:
        values: list[float | None] = columns[column(name)]
        return values

    function.__name__ = name
    return function


class ThoughtTrainer(WholeCheckpoints, MicroBatches, ImportanceCorrection, DistinctTexts, GRPOTrainer):
    """TRL's trainer for texts that an engine of ours has written."""

    mask_name = "completion_mask"

    def __init__(
        self,
        *args: Any,
        micro_batch: int,
        card: str,
        advantages: Advantages | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.micro_batch = micro_batch
        self.advantages = advantages
        """What takes the place of TRL's advantages."""
        self.card = card

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Our card of the checkpoints' folder in place of TRL's template, which says nothing of thoughts."""
        if self.is_world_process_zero():
            write_card(str(self.args.output_dir), self.card)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's batch; other advantages where the recipe asks for them.

        TRL puts the columns of `rollout_func` into `inputs`, takes advantages of shape [B, T], and shuffles
        and splits them with the texts (pinned by tests/contract/test_trl_contract.py).
        """
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.advantages is not None:
            totals = torch.tensor([row[TOTAL] for row in inputs], device=batch["completion_ids"].device)
            everywhere = self.accelerator.gather(totals)  # of all workers
            batch["advantages"] = self.advantages(
                totals, batch["completion_ids"], batch["completion_mask"], everywhere
            )
        return batch

    def _get_per_token_logps_and_entropies(
        self, *args: Any, batch_size: int | None = None, **kwargs: Any
    ) -> Any:
        """TRL's log-probabilities before a batch is learnt from, those of the reference too, in parts."""
        rows = None if batch_size is None else min(batch_size, self.micro_batch)
        return super()._get_per_token_logps_and_entropies(*args, batch_size=rows, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """TRL's checkpoint; while it is written nothing else is under way."""
        with under_way.phase("save"):
            super()._save_checkpoint(model, trial)

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        """TRL's sampler; that of a resumed run has shuffled as often as the run before.

        TRL 1.16 begins with the first epoch's order again, whichever epoch it goes on in (pinned by
        tests/unit/training/test_dropped_step.py).
        """
        sampler: Any = super()._get_train_sampler(dataset)
        if sampler.shuffle:
            rows = self.args.per_device_train_batch_size * n_workers()
            for _ in range(self._step // (len(sampler) // rows)):
                torch.randperm(sampler.num_samples, generator=sampler.generator)
        return sampler

    def batch_rows(self, number: int) -> list[int]:
        """The thoughts of one batch of rollouts, of all workers, as TRL's sampler draws them.

        Args:
            number: of the batch, counted from 0 over all epochs.
        """
        arguments, prompts = cast(GRPOConfig, self.args), cast(Dataset, self.train_dataset)["prompt"]
        n, size = len(prompts), cast(int, arguments.generation_batch_size) // cast(int, self.num_generations)
        epoch, place = divmod(number, n // size)
        order = torch.arange(n)
        if self.shuffle_dataset:
            generator = torch.Generator().manual_seed(arguments.seed)
            for _ in range(epoch + 1):
                order = torch.randperm(n, generator=generator)
        return [int(prompts[int(row)]) for row in order[place * size : (place + 1) * size]]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the policy too: transformers 5.17 loads only adapters in sub-folders where there is one.

        TRL's reference adapter lies in `ref/`, the policy beside it; without this a resumed run would go on
        from the warm start (pinned by tests/integration/test_train.py).
        """
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        # TRL counts from 0 again; a batch that is used for several steps would not end where its thoughts do.
        self._step = steps_of(resume_from_checkpoint)
        policy = cast(PeftModel, self.model if model is None else model)
        policy.load_adapter(resume_from_checkpoint, "default", is_trainable=True)
        policy.set_adapter("default")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load them, and go on at the rate that the recipe has now."""
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[no-untyped-call]
        if checkpoint is not None:
            take_rate(self.optimizer, self.lr_scheduler, self.args.learning_rate)


def order(lengths: Sequence[int], section: GrpoSection) -> list[int]:
    """Rows of the training thoughts in the order of the curriculum; TRL shuffles them where there is none."""
    rows = list(range(len(lengths)))
    if section.curriculum == "short_first":
        random.Random(section.seed).shuffle(rows)
        seen = math.ceil(section.steps / section.iterations) * section.thoughts_per_step
        rows[:seen] = sorted(rows[:seen], key=lambda row: lengths[row])
    return rows


def build_trainer(
    policy: Policy,
    rollout_func: RolloutFunc,
    lengths: Sequence[int],
    recipe: Recipe,
    out: Path,
    callbacks: list[Any],
    reporting: Sequence[TrainerCallback],
) -> ThoughtTrainer:
    """Wire TRL's trainer to the rollouts.

    Args:
        policy: the verbalizer under training.
        rollout_func: writes and scores texts; a prompt is a thought's row number as text.
        lengths: of each training thought its problem's number of steps; every row is a prompt.
        recipe: gives hyperparameters (`grpo`), and names and weights of the columns that `rollout_func`
            returns (`reward`).
        out: folder of checkpoints.
        callbacks: of transformers' Trainer.
        reporting: callbacks that send the trainer's figures to trackers, with what `callbacks` added.
    """
    section, rewards = recipe.grpo, recipe.reward
    # A Trainer takes a GPU if there is one, also where the recipe says reasoner.device: cpu.
    on_cpu = policy.embedding.weight.device.type == "cpu"
    config = GRPOConfig(
        output_dir=str(out),
        max_steps=section.steps,
        per_device_train_batch_size=share_of(section.thoughts_per_step) * section.samples,
        ddp_broadcast_buffers=False,
        ddp_find_unused_parameters=False,
        steps_per_generation=section.steps_per_generation,
        num_iterations=section.iterations,
        num_generations=section.samples,
        max_completion_length=section.max_new_tokens,
        temperature=section.temperature,
        learning_rate=section.learning_rate,
        lr_scheduler_type="constant_with_warmup" if section.schedule == "constant" else section.schedule,
        warmup_steps=section.warmup_steps,
        max_grad_norm=1.0,
        beta=section.beta,
        epsilon=section.clip,
        epsilon_high=section.clip_high,
        loss_type="dr_grpo",
        scale_rewards=section.scale_rewards,
        # Truncated importance sampling between trainer and engine.
        vllm_importance_sampling_correction=True,
        vllm_importance_sampling_mode="token_truncate",
        vllm_importance_sampling_clip_max=section.importance_clip,
        reward_weights=[item.weight_at(0) for item in rewards.functions],
        multi_objective_aggregation=rewards.aggregation,
        # As the engine computes: with float32 there and bfloat16 here, the embedded model's log-probabilities
        # differ by .085 nats, and the canary stops the run.
        bf16=recipe.rollout.engine.dtype == "bfloat16" and not on_cpu,
        use_cpu=on_cpu,
        shuffle_dataset=section.curriculum == "none",
        seed=section.seed,
        data_seed=section.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_steps=section.save_every,
        save_total_limit=2,
        dataloader_pin_memory=not on_cpu,
        report_to="none",
        disable_tqdm=True,
        **checkpointing(section.gradient_checkpointing),
    )
    trainer = ThoughtTrainer(
        model=policy.model,
        processing_class=policy.tokenizer,
        reward_funcs=[carried(function.name) for function in find_functions(rewards)],
        args=config,
        train_dataset=Dataset.from_dict({"prompt": [str(row) for row in order(lengths, section)]}),
        rollout_func=rollout_func,
        callbacks=[*callbacks, *reporting, AgreeOnControl()],
        advantages=Advantages.of(section, rewards),
        micro_batch=rows_of(policy, section),
        card=checkpoints_card(policy.verbalizer_config),
    )
    trainer.remove_callback(PrinterCallback)  # the monitor prints
    return trainer


def rows_of(policy: Policy, section: GrpoSection) -> int:
    """Texts of one forward pass."""
    prompt = policy.prompts([list(range(policy.verbalizer_config.n_slots))])[0]
    return micro_batch(
        section.micro_batch,
        share_of(section.thoughts_per_step) * section.samples,
        len(prompt) + section.max_new_tokens,
        Shape.of(policy.model.config),
        gradient_checkpointing=section.gradient_checkpointing,
        free=free_memory(policy.embedding.weight.device),
    )
