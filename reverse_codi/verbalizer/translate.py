"""Translating thoughts: vectors in, texts out, with what is known about each text's truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from reverse_codi.reading.measure import Measure
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.rollout.base import EngineConfig, Sampling
from reverse_codi.rollout.transformers_engine import TransformersEngine
from reverse_codi.sites import Site
from reverse_codi.verbalizer.policy import Policy


class Translator:
    """A verbalizer ready to use, on the `transformers` engine.

    Args:
        reasoner: the frozen model.
        reasoner_folder: where it lies; the engine loads the language model from there.
        folder: the verbalizer's.
        max_new_tokens: longest text.
    """

    def __init__(
        self,
        reasoner: CodiReasoner,
        reasoner_folder: str | Path,
        folder: str | Path,
        max_new_tokens: int = 48,
    ) -> None:
        self.reasoner = reasoner
        self.policy = Policy.load(folder, reasoner)
        self.max_new_tokens = max_new_tokens
        config = EngineConfig(
            kind="transformers",
            device=reasoner.device.type,
            max_sequences=512,
            max_model_len=reasoner.lm.config.max_position_embeddings,
        )
        self.engine = TransformersEngine(reasoner_folder, config)
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
        measure: Measure,
        seed: int = 0,
    ) -> list[str]:
        """Of the greedy and `n` sampled texts of each thought the one that reads nearest to it."""
        candidates = [
            list(dict.fromkeys([first, *others]))
            for first, others in zip(self.greedy(slots), self.sampled(slots, n, seed), strict=True)
        ]
        flat = [text for texts in candidates for text in texts]
        owner = [row for row, texts in enumerate(candidates) for _ in texts]
        flat_sites = [sites[row] for row in owner]
        predicted = measure.predict(flat, flat_sites, [questions[row] for row in owner])
        distance = measure.distance(targets[owner], predicted, flat_sites).tolist()
        best: dict[int, tuple[float, str]] = {}
        for row, text, d in zip(owner, flat, distance, strict=True):
            if row not in best or d < best[row][0]:
                best[row] = (d, text)
        return [best[row][1] for row in range(len(candidates))]

    def _texts(self, slots: Tensor, n: int, temperature: float, seed: int) -> list[list[str]]:
        embeds = self.policy.prompt_embeds(self.policy.contract.inject(slots.flatten(0, 1)).view_as(slots))
        eos = self.policy.tokenizer.eos_token_id
        sampling = Sampling(
            max_new_tokens=self.max_new_tokens, temperature=temperature, seed=seed, stop_ids=(eos,)
        )
        texts: list[list[str]] = [[] for _ in embeds]
        for rollout in self.engine.generate(embeds, n, sampling):
            texts[rollout.prompt_index].append(self.reasoner.decode(rollout.token_ids.tolist()))
        return texts
