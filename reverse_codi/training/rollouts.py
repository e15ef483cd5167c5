"""TRL's `rollout_func` for thoughts: texts from the rollout actors, rewards from the reward actors."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from trl import GRPOTrainer

from reverse_codi.processes import under_way
from reverse_codi.processes.workers import droppable
from reverse_codi.reasoners.plain_text import decoded
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.pool import RewardPool
from reverse_codi.rewards.scoring import Scores
from reverse_codi.rollout.base import Finish, Rollout, Sampling
from reverse_codi.training.candidate_rows import CandidateRows
from reverse_codi.training.grpo import TOTAL, ThoughtTrainer, column
from reverse_codi.training.sync import PolicySync
from reverse_codi.verbalize.thoughts import Thoughts, bank_rows


@dataclass
class Phases:
    """Seconds that the parts of one step took; the trainer's own part is what is left."""

    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        """Run `work` and add its time to `name`."""
        start = time.perf_counter()
        with under_way.phase(name):
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


@dataclass(frozen=True)
class AskedBatch:
    """A batch that actors were asked for.

    Attributes:
        rows: its thoughts.
        prompt_ids: of each thought.
        taken: the rollouts, which the first call waits for.
    """

    rows: list[int]
    prompt_ids: list[list[int]]
    taken: Callable[[], list[Rollout]]


class Rollouts:
    """TRL's `rollout_func`: thoughts in, texts with log-probabilities and rewards out.

    Args:
        thoughts: training thoughts; row i of them is bank rows i * S to i * S + S - 1 of the bank in use.
        sync: brings its pool of rollout actors to the weights of its policy.
        rewards: reward actors.
        section: hyperparameters.
        on_texts: called with every batch of texts and its rewards.
    """

    def __init__(
        self,
        thoughts: Thoughts,
        sync: PolicySync,
        rewards: RewardPool,
        section: GrpoSection,
        on_texts: Callable[[int, Candidates, Scores], None],
    ) -> None:
        self.thoughts = thoughts
        self.sync = sync
        self.policy = sync.policy
        self.pool = sync.pool
        self.rewards = rewards
        self.section = section
        self.on_texts = on_texts
        self.phases = Phases()
        self.scalars: dict[str, float] = {}
        self._bank = bank_rows(thoughts)
        self._ahead: AskedBatch | None = None
        self._rows = CandidateRows(thoughts, section.distractors, section.seed)

    def __call__(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, list[Any]]:
        """Sample and score one batch; a signal drops it.

        Args:
            prompts: row numbers of thoughts as text, each repeated G times in a run.
            trainer: TRL's.

        Raises:
            StopAsked: a signal asked for the end of a lone worker.
        """
        with droppable():
            columns = self._columns(prompts, trainer)
        under_way.begin_phase("train")
        return columns

    def bring(self, step: int) -> int:
        """Bring the actors to the weights after `step` optimizer steps; returns their version."""
        self.settle()
        return self.sync(step)

    def settle(self) -> None:
        """Wait for the batch that actors are at work on, if there is one; the next call has it."""
        if self._ahead is not None:
            with under_way.phase("sync"):
                self.sync.check()
            with under_way.phase("generate"):
                self._ahead.taken()

    def _columns(self, prompts: list[str], trainer: GRPOTrainer) -> dict[str, list[Any]]:
        step = trainer.state.global_step
        rows = [int(prompt) for prompt in prompts[:: self.section.samples]]
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead.rows != rows:
            ahead = self._begun(rows, step, step)
        self.phases.timed("sync", self.sync.check)
        rollouts = self.phases.timed("generate", ahead.taken)
        version = rollouts[0].policy_version
        each = self.section.steps_per_generation * self.section.iterations
        if self.section.max_staleness and step + each < self.section.steps:
            following = cast(ThoughtTrainer, trainer).batch_rows((step + each) // each)
            self._ahead = self._begun(following, step + each, step)
        prompt_ids = ahead.prompt_ids
        owners = [rows[rollout.prompt_index] for rollout in rollouts]
        token_ids = [r.token_ids.tolist() for r in rollouts]
        texts = [decoded(self.policy.tokenizer, ids) for ids in token_ids]
        finished = [r.finish is Finish.STOP for r in rollouts]
        batch = self._rows.of(owners, texts, token_ids, finished, version)
        with under_way.phase("score"):
            scores = self.rewards.score(batch, step)
        # TRL weighs the columns right after this call; a recipe's weights may change from step to step.
        trainer.reward_weights = torch.tensor([scores.weights[name] for name in scores.columns])
        self.phases.add("read", scores.read_s)
        self.phases.add("reward", scores.reward_s)
        matches = [m for m in scores.match if m is not None]
        self.scalars = scores.scalars | {
            "rollout/match": sum(matches) / max(1, len(matches)),
            "rollout/distinct": len(set(batch.texts)) / len(batch.texts),
            "rollout/failed": 1 - len(matches) / len(batch.texts),
            "rollout/policy_version": float(version),
            "rollout/staleness": float(self.sync.first + step - version),
            "rollout/texts_read": float(scores.n_read),
        }
        self.on_texts(step, batch, scores)
        return {
            "prompt_ids": [prompt_ids[rollout.prompt_index] for rollout in rollouts],
            "completion_ids": [ids or [self.policy.tokenizer.eos_token_id] for ids in batch.token_ids],
            "logprobs": [r.logprobs.tolist() for r in rollouts],
            **{column(name): values for name, values in scores.columns.items()},
            TOTAL: scores.total,
        }

    def _begun(self, rows: list[int], step: int, now: int) -> AskedBatch:
        """Let the actors sample a batch, with the weights that they are to load before.

        Args:
            rows: its thoughts.
            step: the optimizer step that learns from it first.
            now: steps done; the weights are those after them.
        """
        version = self.phases.timed("sync", lambda: self.sync.begin(now))
        sampling = Sampling(
            max_new_tokens=self.section.max_new_tokens,
            temperature=self.section.temperature,
            seed=self.section.seed * 1_000_003 + step,
            stop_ids=(self.policy.tokenizer.eos_token_id,),
        )
        prompt_ids = self.policy.prompts([self._bank[row] for row in rows])
        embeds = list(self.policy.embedding.of(prompt_ids))
        wait = self.pool.begin(embeds, self.section.samples, sampling, version)
        return AskedBatch(rows, prompt_ids, functools.cache(wait))
