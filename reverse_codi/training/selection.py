"""The evaluation within a run: held-out thoughts that curves show and the best policy is chosen on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch

from reverse_codi.recipe.schema import Recipe
from reverse_codi.rollout.base import Sampling
from reverse_codi.rollout.pool import RolloutPool
from reverse_codi.tasks.base import Split
from reverse_codi.training.prepare import Prepared
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.scores import Scored, score
from reverse_codi.verbalize.thoughts import Thoughts, bank_rows


@dataclass(frozen=True)
class Selection:
    """Held-out causally active thoughts, translated greedily and scored.

    Attributes:
        thoughts: what is translated.
        prepared: gives the metric that scores.
        max_new_tokens: longest text.
    """

    thoughts: Thoughts
    prepared: Prepared
    max_new_tokens: int

    @classmethod
    def of(cls, recipe: Recipe, prepared: Prepared) -> Self:
        """The first `grpo.eval_thoughts` of them."""
        thoughts = prepared.thoughts(Split.HELDOUT, active_only=True)
        chosen = thoughts.take(range(min(len(thoughts), recipe.grpo.eval_thoughts)))
        return cls(chosen, prepared, recipe.grpo.max_new_tokens)

    def by_policy(self, policy: Policy) -> Scored:
        """Let the policy's own model write."""
        slots = policy.verbalizer_config.inject(self.thoughts.slots)
        prompts = torch.tensor(policy.prompts(bank_rows(self.thoughts)))
        with policy.embedding.bank(slots.flatten(0, 1)):
            written = policy.model.generate(
                input_ids=prompts,
                attention_mask=torch.ones_like(prompts),
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                eos_token_id=policy.tokenizer.eos_token_id,
            )
        return self._scored(written[:, prompts.shape[1] :].tolist())

    def by_actors(self, policy: Policy, pool: RolloutPool, version: int) -> Scored:
        """Let the rollout actors write, which hold policy `version`."""
        embeds = policy.prompt_embeds(policy.verbalizer_config.inject(self.thoughts.slots))
        stop_ids = (policy.tokenizer.eos_token_id,)
        greedy = Sampling(max_new_tokens=self.max_new_tokens, temperature=0.0, stop_ids=stop_ids)
        return self._scored([r.token_ids.tolist() for r in pool.generate(embeds, 1, greedy, version)])

    def _scored(self, token_ids: list[list[int]]) -> Scored:
        texts = [self.prepared.reasoner.decode(ids) for ids in token_ids]
        return score(self.thoughts, texts, self.prepared.metric)
