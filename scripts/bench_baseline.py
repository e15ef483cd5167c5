"""What a user would write without this package: GRPO on thoughts by TRL alone, and by a plain loop.

Both have the policy, thoughts, rewards and hyperparameters of a run of this package. TRL generates by
`transformers`, as its documentation says for a machine without a GPU, and scores in its own process. The
plain loop samples with a key-value cache, reads each distinct text once, and takes one forward and backward
pass. It has no reference policy, no importance correction, no evaluation, and no process but its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.functional import log_softmax
from transformers import DynamicCache
from trl import GRPOConfig, GRPOTrainer

from reverse_codi.reasoners.plain_text import decoded
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.scoring import LocalScorer
from reverse_codi.training.candidate_rows import CandidateRows
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.thoughts import Thoughts, bank_rows


@dataclass(frozen=True)
class Work:
    """What both loops work on.

    Attributes:
        policy: the verbalizer; its bank holds the thoughts.
        thoughts: training thoughts.
        scorer: rewards, in this process.
        recipe: hyperparameters.
    """

    policy: Policy
    thoughts: Thoughts
    scorer: LocalScorer
    recipe: Recipe

    def rewards(self, owners: Sequence[int], ids: Sequence[Sequence[int]]) -> list[float]:
        """The weighted reward of each text."""
        end = self.policy.tokenizer.eos_token_id
        texts = [decoded(self.policy.tokenizer, row) for row in ids]
        finished = [end in row for row in ids]
        section = self.recipe.grpo
        rows = CandidateRows(self.thoughts, section.distractors, section.seed)
        return self.scorer.score(rows.of(owners, texts, ids, finished, 0)).total


class TokenTrainer(GRPOTrainer):
    """TRL's trainer on prompts that are rows of thoughts; nothing else is changed."""

    policy: Policy

    def _tokenize_prompts(self, prompts: list[str]) -> Any:
        return self.policy.prompts([[int(row)] for row in prompts]), None, {}


def trl_trainer(work: Work, out: Path, steps: int) -> GRPOTrainer:
    """TRL's GRPOTrainer with its own generation."""
    section = work.recipe.grpo

    def reward(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        return work.rewards([int(prompt) for prompt in prompts], completion_ids)

    trainer = TokenTrainer(
        model=work.policy.model,
        processing_class=work.policy.tokenizer,
        reward_funcs=[reward],
        args=GRPOConfig(
            output_dir=str(out),
            max_steps=steps,
            per_device_train_batch_size=section.thoughts_per_step * section.samples,
            num_generations=section.samples,
            max_completion_length=section.max_new_tokens,
            temperature=section.temperature,
            learning_rate=section.learning_rate,
            beta=section.beta,
            loss_type="dr_grpo",
            use_cpu=work.policy.embedding.weight.device.type == "cpu",
            bf16=work.policy.model.dtype == torch.bfloat16,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1000,
            seed=section.seed,
        ),
        train_dataset=Dataset.from_dict({"prompt": [str(row) for row in range(len(work.thoughts))]}),
    )
    trainer.policy = work.policy
    return trainer


class PlainLoop:
    """The whole method in one process.

    Args:
        work: what it works on.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.model = work.policy.model
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=work.recipe.grpo.learning_rate, weight_decay=0.0)
        self.device = work.policy.embedding.weight.device
        self.generator = torch.Generator(self.device).manual_seed(work.recipe.grpo.seed)
        self.bank = bank_rows(work.thoughts)

    def step(self) -> None:
        """Sample, score, learn."""
        section = self.work.recipe.grpo
        order = torch.randperm(len(self.bank), generator=self.generator, device=self.device)
        drawn = order[: section.thoughts_per_step].tolist()
        prompts, ids, mask = self._sample(drawn, section.samples, section.temperature)
        owners = [row for row in drawn for _ in range(section.samples)]
        texts = self._cut(ids, mask)
        found = torch.tensor(self.work.rewards(owners, texts), device=self.device)
        rewards = found.view(-1, section.samples)
        gain = ((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)).flatten()
        self._learn(prompts.repeat_interleave(section.samples, 0), ids, mask, gain)

    def sampled(self, rows: Sequence[int], samples: int, temperature: float) -> list[list[int]]:
        """Token ids of texts, `samples` for each thought in turn."""
        _, ids, mask = self._sample(rows, samples, temperature)
        return self._cut(ids, mask)

    @staticmethod
    def _cut(ids: Tensor, mask: Tensor) -> list[list[int]]:
        return [row[: int(n)].tolist() for row, n in zip(ids, mask.sum(1), strict=True)]

    @torch.no_grad()
    def _sample(self, rows: Sequence[int], samples: int, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """Prompts [B, P], and token ids and mask [B * G, T] of texts; each prompt is read once."""
        section, end = self.work.recipe.grpo, self.work.policy.tokenizer.eos_token_id
        prompts = torch.tensor(self.work.policy.prompts([self.bank[row] for row in rows]), device=self.device)
        cache = DynamicCache()
        logits = self.model(input_ids=prompts, past_key_values=cache, logits_to_keep=1).logits[:, -1]
        cache.batch_repeat_interleave(samples)
        logits = logits.repeat_interleave(samples, 0)
        ids, masks = [], []
        alive = torch.ones(len(logits), dtype=torch.bool, device=self.device)
        for _ in range(section.max_new_tokens):
            chances = (logits.float() / temperature).softmax(-1)
            token = torch.multinomial(chances, 1, generator=self.generator)[:, 0]
            ids.append(token)
            masks.append(alive.clone())
            alive &= token != end
            if not bool(alive.any()):
                break
            logits = self.model(input_ids=token[:, None], past_key_values=cache).logits[:, -1]
        return prompts, torch.stack(ids, 1), torch.stack(masks, 1).long()

    def _learn(self, prompts: Tensor, ids: Tensor, mask: Tensor, gain: Tensor) -> None:
        section = self.work.recipe.grpo
        whole = torch.cat([prompts, ids], 1)
        logits = self.model(input_ids=whole, logits_to_keep=ids.shape[1] + 1).logits[:, :-1]
        logprobs = log_softmax(logits.float(), -1).gather(2, ids[..., None])[..., 0]  # [N, T]
        loss = -(logprobs * gain[:, None] * mask).sum() / (len(ids) * section.max_new_tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([w for w in self.model.parameters() if w.grad is not None], 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
