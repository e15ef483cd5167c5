"""Sampling with plain transformers: no extra dependency, and the reference for vLLM.

Shapes: B prompts, G samples each, T prompt tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    PreTrainedModel,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from reverse_codi.reasoners.half_precision import widen_frozen_layers
from reverse_codi.recipe.rollout import EngineConfig
from reverse_codi.rollout.base import (
    BASE_VERSION,
    Finish,
    Rollout,
    Sampling,
    check_completions,
    check_request,
    checked,
)
from reverse_codi.rollout.merging import Base
from reverse_codi.utils.micro_batch import rows_at_once


class TransformersEngine:
    """Token-by-token sampling with a key-value cache and left padding.

    (seed, prompt, sample) fixes the random numbers of a sample, so the batch does not change it.

    Args:
        base: folder of the language model without adapter; or a model in memory, which is sampled from as it
            stands and takes no other adapter.
        config: dtype, device, sizes.
    """

    def __init__(self, base: str | Path | PreTrainedModel | PeftModel, config: EngineConfig) -> None:
        self.config = config
        self._base: Base | None = None
        self.model: PreTrainedModel | PeftModel
        if isinstance(base, str | Path):
            self._base = Base(base, getattr(torch, config.dtype))
            self.model = self._merged(None)
        else:
            self.model = base
        self._version = BASE_VERSION
        self.progress: Callable[[int, int], None] | None = None
        """Called after every batch with the number of finished sequences and their total."""

    @property
    def policy_version(self) -> int:
        """The adapter in use."""
        return self._version

    def load_policy(self, adapter: str | Path, version: int) -> None:
        """Merge the adapter of a folder into the base.

        Raises:
            TypeError: the base is a model in memory.
        """
        if self._base is None:
            raise TypeError("this engine samples from a model in memory; make another from the base's folder")
        self.model = self._merged(adapter)
        self._version = version

    def _merged(self, adapter: str | Path | None) -> PreTrainedModel:
        assert self._base is not None
        model = self._base.merged(adapter)
        widen_frozen_layers(model)
        return model.to(self.config.device)  # type: ignore[arg-type]

    @property
    def dtype(self) -> torch.dtype:
        """What the model reads embeddings in: a model in memory decides itself, not the configuration."""
        return next(self.model.get_input_embeddings().parameters()).dtype

    def generate(self, prompts: Sequence[Tensor], n: int, params: Sampling, first: int = 0) -> list[Rollout]:
        """Sample `n` texts a prompt; see `Engine.generate`."""
        check_request(prompts, self.model.config.hidden_size, n, params, self.config.max_model_len, first)
        # So many prompts with all of their samples, or one prompt with some of them.
        prompts_at_once = max(1, self.config.max_sequences // n)
        samples_at_once = min(n, max(1, self.config.max_sequences))
        rollouts: list[Rollout] = []
        for start in range(0, len(prompts), prompts_at_once):
            some = prompts[start : start + prompts_at_once]
            for begin in range(0, n, samples_at_once):
                samples = range(begin, min(n, begin + samples_at_once))
                rollouts += self._batch(some, samples, params, first + start)
                if self.progress is not None:
                    self.progress(len(rollouts), len(prompts) * n)
        return checked(rollouts)

    @torch.inference_mode()
    def _batch(
        self, prompts: Sequence[Tensor], samples: range, params: Sampling, first: int
    ) -> list[Rollout]:
        n = len(samples)
        embeds, mask = self._padded(prompts)  # [B, T, d], [B, T]
        cache = DynamicCache()
        logits = self._next_logits(cache, mask, inputs_embeds=embeds).repeat_interleave(n, 0)  # [B * G, V]
        cache.batch_repeat_interleave(n)  # each prompt is read once
        mask = mask.repeat_interleave(n, 0)
        noise = self._noise(len(prompts), samples, params, first)  # [B * G, max_new]
        stop_ids = torch.tensor(params.stop_ids, dtype=torch.long, device=mask.device)
        ended = torch.zeros(len(mask), dtype=torch.bool, device=mask.device)
        lengths = torch.zeros(len(mask), dtype=torch.long, device=mask.device)
        ids: list[Tensor] = []
        chosen: list[Tensor] = []
        for step in range(params.max_new_tokens):
            token, logprob = chosen_tokens(logits, params, noise[:, step])
            ids.append(token)
            chosen.append(logprob)
            lengths += ~ended
            ended = ended | torch.isin(token, stop_ids)
            if step + 1 == params.max_new_tokens or bool(ended.all()):
                break
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            logits = self._next_logits(cache, mask, input_ids=token[:, None])
        all_ids = torch.stack(ids, 1).cpu().numpy().astype(np.int32)  # [B * G, steps]
        all_logprobs = torch.stack(chosen, 1).cpu().numpy()
        return [
            Rollout(
                prompt_index=first + row // n,
                token_ids=all_ids[row, :length].copy(),
                logprobs=all_logprobs[row, :length].copy(),
                finish=Finish.STOP if stopped else Finish.LENGTH,
                policy_version=self._version,
            )
            for row, (length, stopped) in enumerate(zip(lengths.tolist(), ended.tolist(), strict=True))
        ]

    def _next_logits(self, cache: DynamicCache, mask: Tensor, **inputs: Tensor) -> Tensor:
        """Read the newest tokens; float32 logits [rows, V] after the last of them."""
        newest = next(iter(inputs.values())).shape[1]
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -newest:]  # padding does not count
        out = self.model(
            **inputs,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = out.logits[:, -1].float()
        return logits

    def _padded(self, prompts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Left-padded embeddings [B, T, d] and mask [B, T]."""
        longest = max(map(len, prompts))
        width = prompts[0].shape[1]
        embeds = torch.zeros(len(prompts), longest, width, dtype=self.dtype, device=self.config.device)
        mask = torch.zeros(len(prompts), longest, dtype=torch.long, device=self.config.device)
        for row, prompt in enumerate(prompts):
            embeds[row, longest - len(prompt) :] = prompt.detach().to(embeds)
            mask[row, longest - len(prompt) :] = 1
        return embeds, mask

    def _noise(self, n_prompts: int, samples: range, params: Sampling, first: int) -> Tensor:
        """Uniform numbers [B * G, max_new], float64: one a token."""
        rows = [
            np.random.default_rng([params.prompt_seed(first + i), sample]).random(params.max_new_tokens)
            for i in range(n_prompts)
            for sample in samples
        ]
        return torch.from_numpy(np.stack(rows)).to(self.config.device)

    @torch.inference_mode()
    def score(
        self, prompts: Sequence[Tensor], completions: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[NDArray[np.float32]]:
        """Log-probability of every completion token; see `Engine.score`."""
        check_completions(prompts, completions, self.model.config.vocab_size)
        params = Sampling(max_new_tokens=max(map(len, completions), default=1), temperature=temperature)
        check_request(prompts, self.model.config.hidden_size, 1, params, self.config.max_model_len)
        if not prompts:
            return []
        table = self.model.get_input_embeddings()
        ids = [torch.as_tensor(list(row), device=self.config.device) for row in completions]
        rows = [torch.cat([p.detach().to(table(t)), table(t)]) for p, t in zip(prompts, ids, strict=True)]
        kept = params.max_new_tokens + 1  # the last of them predicts nothing that is asked
        at_once = rows_at_once(3 * kept * self.model.config.vocab_size, len(rows))
        scores = []
        for first in range(0, len(rows), at_once):
            embeds, mask = self._padded(rows[first : first + at_once])
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            out = self.model(
                inputs_embeds=embeds, attention_mask=mask, position_ids=positions, logits_to_keep=kept
            )
            for logits, tokens in zip(out.logits, ids[first : first + at_once], strict=True):
                before = logits[-1 - len(tokens) : -1].float()  # [T, V], each predicts the next token
                logprobs = processed_logprobs(before, params).gather(1, tokens[:, None])[:, 0]
                scores.append(logprobs.cpu().numpy())
        return scores

    def close(self) -> None:
        """Do nothing: no resource outlives the object."""


def processed_logprobs(logits: Tensor, params: Sampling) -> Tensor:
    """The log-probabilities that logits [rows, V] are sampled from; greedy reports those at temperature 1."""
    if params.temperature > 0:
        logits = logits / params.temperature
        warpers = LogitsProcessorList()
        if params.top_k:
            warpers.append(TopKLogitsWarper(params.top_k))
        if params.top_p < 1:
            warpers.append(TopPLogitsWarper(params.top_p))
        logits = warpers(torch.empty(0), logits)  # type: ignore[arg-type]
    return torch.log_softmax(logits, -1)


def chosen_tokens(logits: Tensor, params: Sampling, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Token ids [rows] and log-probabilities [rows], from logits [rows, V] and numbers in [0, 1) [rows]."""
    # Ten copies of a row exist at once: that of the probabilities is float64.
    at_once = rows_at_once(10 * logits.shape[1], len(logits))
    tokens, chosen = [], []
    for some, numbers in zip(logits.split(at_once), uniform.split(at_once), strict=True):
        logprobs = processed_logprobs(some, params)  # [rows, V]
        token = logprobs.argmax(-1) if params.temperature == 0 else draw(logprobs, numbers)
        tokens.append(token)
        chosen.append(logprobs.gather(1, token[:, None])[:, 0])
    return torch.cat(tokens), torch.cat(chosen)


def draw(logprobs: Tensor, uniform: Tensor) -> Tensor:
    """Token ids [rows] by inverting the distribution [rows, V] at uniform numbers [rows] in [0, 1)."""
    cumulative = logprobs.double().exp().cumsum(-1)
    level = uniform[:, None] * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, level, right=True)[:, 0]  # never a token of probability 0
    return token.clamp(max=logprobs.shape[1] - 1)
