"""The protocol of engines: requests and results.

Shapes: T tokens, d width, G samples a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BASE_VERSION = 0
"""The policy version of the model without an adapter."""


class EngineBrokenError(RuntimeError):
    """An engine failed internally and must be restarted; the request was valid."""


class Finish(StrEnum):
    """Why a rollout ended."""

    STOP = "stop"
    """At a stop token, which is the last token of the text."""
    LENGTH = "length"
    """At `max_new_tokens`."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to sample.

    Attributes:
        max_new_tokens: largest number of tokens in one rollout, the stop token included.
        temperature: temperature of the softmax; 0 is greedy.
        top_p: nucleus mass; 1 in training, because truncation biases the importance ratio.
        top_k: number of tokens kept; 0 keeps all, as in training.
        seed: together with a prompt's number it fixes every rollout of the prompt, whatever the batch.
        stop_ids: token ids that end a rollout.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be sampled with."""
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}; ask for 1 or more")
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0:
            raise ValueError(
                f"temperature {self.temperature}, top_p {self.top_p}, top_k {self.top_k}: "
                "temperature and top_k are 0 or more, top_p in (0, 1]"
            )

    def prompt_seed(self, index: int) -> int:
        """The seed of one prompt, hashed, because neighbouring prompts must not share noise."""
        state = np.random.SeedSequence([self.seed, index]).generate_state(1, np.uint64)
        return int(state[0] >> np.uint64(2))  # vLLM adds the sample's number, within an int64


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One sampled text.

    Attributes:
        prompt_index: which prompt of the request.
        token_ids: [T] int32; a stop token comes last.
        logprobs: [T] float32, of each token under the distribution that it was drawn from (after
            temperature).
        finish: why it ended.
        policy_version: the adapter that wrote it.
    """

    prompt_index: int
    token_ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    finish: Finish
    policy_version: int


class Engine(Protocol):
    """Samples texts from prompts, which are given as embeddings."""

    @property
    def policy_version(self) -> int:
        """The adapter in use; `BASE_VERSION` before any."""
        ...

    def load_policy(self, adapter: str | Path, version: int) -> None:
        """Use the PEFT adapter in a folder; the folder is not needed afterwards.

        Raises:
            ValueError: the adapter does not fit.
            AdapterError: the folder holds no adapter.
        """
        ...

    def generate(self, prompts: Sequence[Tensor], n: int, params: Sampling, first: int = 0) -> list[Rollout]:
        """Sample `n` texts a prompt.

        Args:
            prompts: each [T, d] input embeddings.
            n: G, samples a prompt.
            params: how to sample.
            first: number of the first prompt, for seeds and `prompt_index`.

        Returns:
            The G rollouts of the first prompt, then those of the second, ...

        Raises:
            ValueError: a prompt is empty, too long, not finite or of another width.
            EngineBrokenError: the engine failed internally.
        """
        ...

    def score(
        self, prompts: Sequence[Tensor], completions: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[NDArray[np.float32]]:
        """Log-probability of every completion token [T], as sampling at `temperature` would report it."""
        ...

    def close(self) -> None:
        """Free all resources."""
        ...


def check_request(
    prompts: Sequence[Tensor], width: int, n: int, params: Sampling, max_len: int, first: int = 0
) -> None:
    """Refuse prompts that would break an engine, before the engine sees them.

    vLLM 0.31 does not check prompt embeddings: another width kills the engine.
    """
    if n < 1 or (params.temperature == 0 and n > 1):
        raise ValueError(f"{n} samples at temperature {params.temperature}: greedy gives one, else 1 or more")
    for i, prompt in enumerate(prompts, start=first):
        if prompt.dim() != 2 or prompt.shape[1] != width or len(prompt) == 0:
            raise ValueError(f"prompt {i} has shape {tuple(prompt.shape)}; this model needs [T > 0, {width}]")
        if len(prompt) + params.max_new_tokens > max_len:
            raise ValueError(
                f"prompt {i} has {len(prompt)} tokens and asks for {params.max_new_tokens} more, beyond "
                f"max_model_len {max_len}; raise that or lower max_new_tokens"
            )
        if not bool(torch.isfinite(prompt).all()):
            raise ValueError(f"prompt {i} holds a value that is not finite")


def checked(rollouts: list[Rollout]) -> list[Rollout]:
    """The rollouts, if every log-probability is finite.

    Sampling from NaN gives an arbitrary token, and a text that looks like any other.

    Raises:
        ValueError: a log-probability is not finite; the policy's weights are broken.
    """
    for rollout in rollouts:
        if not np.isfinite(rollout.logprobs).all():
            raise ValueError(
                f"policy {rollout.policy_version} gives prompt {rollout.prompt_index} log-probabilities that "
                "are not finite: its weights are broken; lower the learning rate that made them"
            )
    return rollouts


def check_completions(prompts: Sequence[Tensor], completions: Sequence[Sequence[int]], n_vocab: int) -> None:
    """Refuse completions that cannot be scored."""
    if len(prompts) != len(completions):
        raise ValueError(f"{len(prompts)} prompts and {len(completions)} completions; give one a prompt")
    for i, ids in enumerate(completions):
        if len(ids) == 0 or min(ids) < 0 or max(ids) >= n_vocab:
            raise ValueError(f"completion {i} is empty or holds an id outside 0..{n_vocab - 1}: {list(ids)}")
