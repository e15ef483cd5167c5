"""The most likely text after a prompt, in one place: for translators, training, controls and the oracle.

Shapes: N thoughts or prompts, S slots, T prompt tokens, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.plain_text import decoded
from reverse_codi.recipe.rollout import EngineConfig
from reverse_codi.rollout.base import Rollout, Sampling
from reverse_codi.rollout.transformers_engine import TransformersEngine
from reverse_codi.verbalize.policy import Policy

LONGEST = 48
"""Most tokens of a text by default."""


class Generate(Protocol):
    """Samples `n` texts a prompt: an engine's `generate`, or a pool's with the version filled in."""

    def __call__(self, prompts: Sequence[Tensor], n: int, params: Sampling) -> list[Rollout]:
        """The rollouts of the first prompt, then those of the second, ..."""
        ...


def greedy(generate: Generate, policy: Policy, slots: Tensor, max_new_tokens: int = LONGEST) -> list[str]:
    """The most likely text of each thought; slots [N, S, d]."""
    return greedy_texts(generate, policy.tokenizer, prompts_of(policy, slots), max_new_tokens)


def greedy_texts(
    generate: Generate,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Tensor],
    max_new_tokens: int = LONGEST,
) -> list[str]:
    """The most likely text after each of N prompts, given as embeddings [T, d]."""
    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=0.0, stop_ids=(tokenizer.eos_token_id,))
    return [decoded(tokenizer, rollout.token_ids.tolist()) for rollout in generate(prompts, 1, sampling)]


def prompts_of(policy: Policy, slots: Tensor) -> list[Tensor]:
    """Prompt embeddings, each [T, d], of latent inputs [N, S, d] as traces hold them."""
    return policy.prompt_embeds(policy.verbalizer_config.inject(slots))


def greedy_engine(reasoner: CodiReasoner, folder: str | Path) -> TransformersEngine:
    """An engine with the adapter of a folder, for prompts as long as the model takes."""
    engine = TransformersEngine(reasoner.saved_path(), engine_config(reasoner))
    engine.load_policy(folder, version=1)
    return engine


def engine_config(reasoner: CodiReasoner, max_sequences: int = 512) -> EngineConfig:
    """Of a `transformers` engine as the reasoner is held, for prompts as long as the model takes."""
    return EngineConfig(
        kind="transformers",
        dtype=str(reasoner.lm.dtype).removeprefix("torch."),
        device=reasoner.device.type,
        max_sequences=max_sequences,
        max_model_len=reasoner.lm.config.max_position_embeddings,
    )
