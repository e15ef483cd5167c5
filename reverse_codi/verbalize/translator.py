"""Translating thoughts: vectors in, texts out, with what is known about each text's truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from reverse_codi.reading.best_of import MARGIN, best_of, candidates
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.rollout import EngineConfig
from reverse_codi.rollout.base import Sampling
from reverse_codi.rollout.transformers_engine import TransformersEngine
from reverse_codi.verbalize.policy import Policy


class Translator:
    """A verbalizer ready to use, on the `transformers` engine.

    Args:
        reasoner: the frozen model; the engine loads its language model from `reasoner.path`.
        folder: the verbalizer's.
        max_new_tokens: longest text.

    Raises:
        UserError: the reasoner was never saved.
    """

    def __init__(self, reasoner: CodiReasoner, folder: str | Path, max_new_tokens: int = 48) -> None:
        self.reasoner = reasoner
        self.policy = Policy.load(folder, reasoner)
        self.max_new_tokens = max_new_tokens
        config = EngineConfig(
            kind="transformers",
            device=reasoner.device.type,
            max_sequences=512,
            max_model_len=reasoner.lm.config.max_position_embeddings,
        )
        self.engine = TransformersEngine(reasoner.saved_path(), config)
        self.engine.load_policy(folder, version=1)

    def greedy(self, slots: Tensor) -> list[str]:
        """The most likely text of each thought; slots [N, S, d]."""
        return [texts[0] for texts in self._texts(slots, 1, temperature=0.0, seed=0)]

    def sampled(self, slots: Tensor, n: int, seed: int = 0, temperature: float = 1.0) -> list[list[str]]:
        """`n` sampled texts of each thought; slots [N, S, d]."""
        return self._texts(slots, n, temperature, seed)

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
        greedy = self.greedy(slots)
        tried = [
            candidates([first, *others])
            for first, others in zip(greedy, self.sampled(slots, n, seed), strict=True)
        ]
        flat = [text for texts in tried for text in texts]
        owner = [row for row, texts in enumerate(tried) for _ in texts]
        if not flat:
            return greedy
        flat_sites = [sites[row] for row in owner]
        predicted = metric.predict(flat, flat_sites, [questions[row] for row in owner])
        match = iter(metric.match(targets[owner], predicted, flat_sites).tolist())
        return [
            best_of(texts, [next(match) for _ in texts], first, margin) if texts else first
            for texts, first in zip(tried, greedy, strict=True)
        ]

    def _texts(self, slots: Tensor, n: int, temperature: float, seed: int) -> list[list[str]]:
        embeds = self.policy.prompt_embeds(
            self.policy.verbalizer_config.inject(slots.flatten(0, 1)).view_as(slots)
        )
        eos = self.policy.tokenizer.eos_token_id
        sampling = Sampling(
            max_new_tokens=self.max_new_tokens, temperature=temperature, seed=seed, stop_ids=(eos,)
        )
        texts: list[list[str]] = [[] for _ in embeds]
        for rollout in self.engine.generate(embeds, n, sampling):
            texts[rollout.prompt_index].append(self.reasoner.decode(rollout.token_ids.tolist()))
        return texts
