"""GRPO on thoughts: TRL's trainer, with rollouts from Ray actors and rewards from Ray actors.

TRL asks `rollout_func` for completions; it samples them on the rollout pool, has the reward pool
read and score them, and hands TRL prompt ids, completion ids, the engine's log-probabilities and one
column a reward. TRL does the rest: advantages, importance correction, KL to the warm start (the
adapter that training started from), the loss.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from datasets import Dataset
from peft import PeftModel
from pydantic import Field
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from reverse_codi.config import Section
from reverse_codi.evaluation.translation import Thoughts
from reverse_codi.policy_sync import PolicySync
from reverse_codi.rewarding import RewardSection, Rows, find_functions
from reverse_codi.rollout.base import Finish, Sampling
from reverse_codi.rollout.pool import RolloutPool
from reverse_codi.scoring import RewardPool
from reverse_codi.verbalizer.policy import Policy


class GrpoSection(Section):
    """Reinforcement learning."""

    steps: int = Field(default=100, ge=0)
    """Optimizer steps."""
    thoughts_per_step: int = Field(default=16, gt=0)
    """Thoughts a step."""
    samples: int = Field(default=16, ge=2)
    """G, texts a thought."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak rate; warm-up, then constant."""
    beta: float = Field(default=0.02, ge=0)
    """Weight of the KL to the warm start."""
    temperature: float = Field(default=1.0, gt=0)
    """Of sampling."""
    max_new_tokens: int = Field(default=32, gt=0)
    """Longest text, eos included."""
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
    save_every: int = Field(default=20, gt=0)
    """Steps between checkpoints."""
    seed: int = 0
    """Of data order, sampling and distractors."""


@dataclass
class Phases:
    """Seconds that the parts of one step took; the trainer's own part is what is left."""

    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        """Run `work` and add its time to `name`."""
        start = time.perf_counter()
        result = work()
        self.add(name, time.perf_counter() - start)
        return result

    def add(self, name: str, seconds: float) -> None:
        """Add a time that was taken elsewhere."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def take(self) -> dict[str, float]:
        """The seconds so far; starts anew."""
        seconds, self.seconds = self.seconds, {}
        return seconds


class Rollouts:
    """TRL's `rollout_func`: thoughts in, texts with log-probabilities and rewards out.

    Args:
        policy: the verbalizer under training; its bank holds every training thought.
        thoughts: training thoughts; row i of them is bank rows i * S to i * S + S - 1.
        pool: rollout actors.
        rewards: reward actors.
        sync: brings the pool to the trainer's weights.
        section: hyperparameters.
        on_texts: told every batch of texts with its rewards.
    """

    def __init__(
        self,
        policy: Policy,
        thoughts: Thoughts,
        pool: RolloutPool,
        rewards: RewardPool,
        sync: PolicySync,
        section: GrpoSection,
        on_texts: Callable[[int, Rows, dict[str, list[float | None]], list[float | None]], None],
    ) -> None:
        self.policy = policy
        self.thoughts = thoughts
        self.pool = pool
        self.rewards = rewards
        self.sync = sync
        self.section = section
        self.on_texts = on_texts
        self.phases = Phases()
        self.scalars: dict[str, float] = {}
        self._bank = bank_rows(thoughts)
        self._of_site: dict[str, list[int]] = {}
        for row, site in enumerate(thoughts.sites):
            self._of_site.setdefault(str(site), []).append(row)

    def __call__(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, list[Any]]:
        """Sample and score one batch.

        Args:
            prompts: row numbers of thoughts as text, each repeated G times in a run.
            trainer: TRL's.
        """
        group = self.section.samples
        rows = [int(prompt) for prompt in prompts[::group]]
        version = self.phases.timed("sync", lambda: self.sync(trainer.state.global_step))
        sampling = Sampling(
            max_new_tokens=self.section.max_new_tokens,
            temperature=self.section.temperature,
            seed=self.section.seed * 1_000_003 + trainer.state.global_step,
            stop_ids=(self.policy.tokenizer.eos_token_id,),
        )
        prompt_ids = self.policy.prompts([self._bank[row] for row in rows])
        with torch.no_grad():
            embeds = [self.policy.embedding(torch.tensor(ids)) for ids in prompt_ids]
        rollouts = self.phases.timed("generate", lambda: self.pool.generate(embeds, group, sampling, version))
        owners = [rows[rollout.prompt_index] for rollout in rollouts]
        batch = self._rows(
            owners, [r.token_ids.tolist() for r in rollouts], [r.finish for r in rollouts], version
        )
        scores = self.rewards.score(batch)
        self.phases.add("read", scores.read_s)
        self.phases.add("reward", scores.reward_s)
        matches = [m for m in scores.match if m is not None]
        self.scalars = scores.scalars | {
            "rollout/match": sum(matches) / max(1, len(matches)),
            "rollout/distinct": len(set(batch.texts)) / len(batch.texts),
            "rollout/failed": 1 - len(matches) / len(batch.texts),
            "rollout/policy_version": float(version),
            "rollout/texts_read": float(scores.n_read),
        }
        self.on_texts(trainer.state.global_step, batch, scores.raw, scores.match)
        return {
            "prompt_ids": [prompt_ids[rollout.prompt_index] for rollout in rollouts],
            "completion_ids": [ids or [self.policy.tokenizer.eos_token_id] for ids in batch.token_ids],
            "logprobs": [r.logprobs.tolist() for r in rollouts],
            **{column(name): values for name, values in scores.raw.items()},
        }

    def _rows(
        self, owners: list[int], token_ids: list[list[int]], finish: list[Finish], version: int
    ) -> Rows:
        chosen = self.thoughts.take(owners)
        texts = self.policy.tokenizer.batch_decode(token_ids, skip_special_tokens=True)
        return Rows(
            texts=texts,
            token_ids=token_ids,
            questions=chosen.questions,
            sites=chosen.sites,
            targets=chosen.targets,
            distractors=self._distractors(owners),
            finished=[f is Finish.STOP for f in finish],
            claims=chosen.claims,
            policy_version=version,
        )

    def _distractors(self, owners: list[int]) -> Tensor:
        """[N, M, d] thoughts of the same site, of other problems; the same ones for a whole group."""
        picked = {owner: self._others(owner) for owner in dict.fromkeys(owners)}
        return self.thoughts.targets[torch.tensor([picked[owner] for owner in owners])]

    def _others(self, owner: int) -> list[int]:
        """M rows; the same ones at every step, distinct where there are as many, else round and round."""
        wanted, own = self.section.distractors, self.thoughts.problems[owner]
        of_site = self._of_site[str(self.thoughts.sites[owner])]
        generator = torch.Generator().manual_seed(self.section.seed * 1_000_003 + owner)
        order = torch.randperm(len(of_site), generator=generator).tolist()
        others = (row for place in order if self.thoughts.problems[row := of_site[place]] != own)
        found = list(itertools.islice(others, wanted))
        if not found:
            raise ValueError(
                f"no other problem has a thought at {self.thoughts.sites[owner]} to compare with; "
                "raise trace.n"
            )
        return [found[i % len(found)] for i in range(wanted)]


def bank_rows(thoughts: Thoughts) -> list[list[int]]:
    """The bank rows of each thought when the bank holds all slots in order."""
    n, slots, _ = thoughts.slots.shape
    return [list(range(row * slots, (row + 1) * slots)) for row in range(n)]


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


class ThoughtTrainer(GRPOTrainer):
    """TRL's trainer with importance correction for an engine that it does not own.

    TRL 1.16 corrects for the engine's log-probabilities only when `use_vllm` is set, and then wants to
    start an engine itself. So the flag is off while TRL is built and while it generates, on for the rest
    (pinned by tests/contract/test_trl_contract.py).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.use_vllm = True

    def _generate(self, prompts: list[Any]) -> Any:
        self.use_vllm = False
        generated = super()._generate(prompts)
        self.use_vllm = True
        return generated

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the policy too: transformers 5.17 loads only adapters in sub-folders where there is one.

        TRL's reference adapter lies in `ref/`, the policy beside it; without this a resumed run would go on
        from the warm start (pinned by tests/integration/test_train.py).
        """
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        policy = cast(PeftModel, self.model if model is None else model)
        policy.load_adapter(resume_from_checkpoint, "default", is_trainable=True)
        policy.set_adapter("default")


def build_trainer(
    policy: Policy,
    rollouts: Rollouts,
    section: GrpoSection,
    rewards: RewardSection,
    out: Path,
    callbacks: list[Any],
    report_to: list[str],
) -> ThoughtTrainer:
    """Wire TRL's trainer to the pools."""
    on_cpu = not torch.cuda.is_available()
    config = GRPOConfig(
        output_dir=str(out),
        max_steps=section.steps,
        per_device_train_batch_size=section.thoughts_per_step * section.samples,
        num_generations=section.samples,
        max_completion_length=section.max_new_tokens,
        temperature=section.temperature,
        learning_rate=section.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=5,
        max_grad_norm=1.0,
        beta=section.beta,
        epsilon=section.clip,
        loss_type="dr_grpo",
        # Truncated importance sampling between trainer and engine.
        vllm_importance_sampling_correction=True,
        vllm_importance_sampling_mode="token_truncate",
        vllm_importance_sampling_clip_max=section.importance_clip,
        reward_weights=[item.weight for item in rewards.functions],
        bf16=not on_cpu,
        use_cpu=on_cpu,
        gradient_checkpointing=False,
        seed=section.seed,
        data_seed=section.seed,
        logging_steps=1,
        save_steps=section.save_every,
        save_total_limit=2,
        dataloader_pin_memory=not on_cpu,
        report_to=report_to,
        disable_tqdm=True,
    )
    return ThoughtTrainer(
        model=policy.model,
        processing_class=policy.tokenizer,
        reward_funcs=[carried(function.name) for function in find_functions(rewards)],
        args=config,
        train_dataset=Dataset.from_dict({"prompt": [str(row) for row in range(len(rollouts.thoughts))]}),
        rollout_func=rollouts,
        callbacks=callbacks,
    )
