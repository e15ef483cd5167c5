"""Translating thoughts: vectors in, texts out, with what is known about each text's truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from reverse_codi.errors import UserError
from reverse_codi.reading.best_of import MARGIN, candidates, nearest
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.schema import Recipe, recipe_beside
from reverse_codi.rollout.base import Sampling
from reverse_codi.utils.config import validated
from reverse_codi.verbalize.greedy import greedy, greedy_engine, prompts_of
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.thoughts import Thoughts

# Thoughts whose prompts are made at once: at width 2,048 they take 8 KiB a token.
PROMPTS = 2048


class Translator:
    """A verbalizer ready to use, on the `transformers` engine.

    Args:
        reasoner: the frozen model; the engine loads its language model from `reasoner.path`.
        folder: the verbalizer's.
        max_new_tokens: longest text; if None, as long as it could be in training (`grpo.max_new_tokens` of
            the recipe in the folder).

    Raises:
        UserError: the reasoner was never saved.
    """

    def __init__(self, reasoner: CodiReasoner, folder: str | Path, max_new_tokens: int | None = None) -> None:
        self.reasoner = reasoner
        self.folder = Path(folder)
        self.policy = Policy.load(folder, reasoner)
        if max_new_tokens is None:
            recipe = validated(Recipe, recipe_beside(self.folder), str(self.folder))
            max_new_tokens = recipe.grpo.max_new_tokens
        self.max_new_tokens = max_new_tokens
        slots = self.policy.verbalizer_config.n_slots
        prompt, positions = (
            len(self.policy.prompts([list(range(slots))])[0]),
            reasoner.lm.config.max_position_embeddings,
        )
        if prompt + max_new_tokens > positions:
            raise UserError(
                f"{self.folder}: texts of {max_new_tokens} tokens (grpo.max_new_tokens of its recipe, or as "
                f"asked) do not fit behind a prompt of {prompt} into {positions} positions; give fewer"
            )
        self.engine = greedy_engine(reasoner, folder)

    def greedy(self, slots: Tensor) -> list[str]:
        """The most likely text of each thought; slots [N, S, d]."""
        texts: list[str] = []
        for part in slots.split(PROMPTS):
            texts += greedy(self.engine.generate, self.policy, part, self.max_new_tokens)
        return texts

    def write(self, thoughts: Thoughts) -> list[str]:
        """The most likely text of each thought."""
        return self.greedy(thoughts.slots)

    def sampled(self, slots: Tensor, n: int, seed: int = 0, temperature: float = 1.0) -> list[list[str]]:
        """`n` sampled texts of each thought; slots [N, S, d]."""
        eos = self.policy.tokenizer.eos_token_id
        sampling = Sampling(
            max_new_tokens=self.max_new_tokens, temperature=temperature, seed=seed, stop_ids=(eos,)
        )
        texts: list[list[str]] = [[] for _ in slots]
        for rollout in self.engine.generate(prompts_of(self.policy, slots), n, sampling):
            texts[rollout.prompt_index].append(self.reasoner.decode(rollout.token_ids.tolist()))
        return texts

    def reranked(
        self,
        slots: Tensor,
        n: int,
        targets: Tensor,
        sites: Sequence[Site],
        questions: Sequence[str],
        metric: ThoughtMetric,
        seed: int = 0,
        margin: float = MARGIN,
    ) -> list[str]:
        """The greedy text of each thought, or of `n` sampled ones the nearest, if it is nearer by a margin.

        Only texts that claim something, or "(no step)", are chosen from; see `reading.best_of`.

        Args:
            slots: [N, S, d].
            n: samples a thought.
            targets: [N, d] what the texts are compared with.
            sites: N sites.
            questions: N questions.
            metric: reads texts and compares.
            seed: of sampling.
            margin: in match.
        """
        first = self.greedy(slots)
        tried = [
            candidates([text, *others])
            for text, others in zip(first, self.sampled(slots, n, seed), strict=True)
        ]
        return nearest(tried, targets, sites, questions, metric, first, margin)
