"""The Ray actor that holds one engine, and how prompts travel to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverse_codi.processes.memory import Peak, peak
from reverse_codi.recipe.rollout import EngineConfig
from reverse_codi.rollout import policy_files
from reverse_codi.rollout.base import Engine, Rollout, Sampling
from reverse_codi.rollout.errors import StalePolicyError


@dataclass(frozen=True)
class Packed:
    """Prompts of different lengths as one array, which Ray moves without copying.

    Attributes:
        flat: [sum of lengths, d] float32.
        lengths: tokens of each prompt.
    """

    flat: NDArray[np.float32]
    lengths: Sequence[int]

    @classmethod
    def of(cls, prompts: Sequence[Tensor]) -> Self:
        """Pack prompts, each [T, d]."""
        flat = torch.cat([prompt.detach().float().cpu() for prompt in prompts]).numpy()
        return cls(flat, [len(prompt) for prompt in prompts])

    def prompts(self) -> list[Tensor]:
        """Unpack; each [T, d]."""
        return list(torch.from_numpy(self.flat.copy()).split(list(self.lengths)))


class RolloutActor:
    """One engine in a process of its own."""

    def __init__(self, base: str, config: EngineConfig, threads: int) -> None:
        torch.set_num_threads(threads)
        self.engine: Engine
        if config.kind == "vllm":
            from reverse_codi.rollout.vllm_engine import VllmEngine

            self.engine = VllmEngine(base, config)
        else:
            from reverse_codi.rollout.transformers_engine import TransformersEngine

            self.engine = TransformersEngine(base, config)

    def version(self) -> int:
        """The policy version in use; returns once the engine has started."""
        return self.engine.policy_version

    def peak(self) -> Peak:
        """What this process has taken so far."""
        return peak()

    def load_policy(self, adapter: str, version: int, digest: str = "") -> int:
        """Load an adapter and acknowledge it by its version.

        Args:
            adapter: its folder.
            version: of the policy.
            digest: of its files, see `policy_files.digest_of`; "" leaves them unchecked.

        Raises:
            PolicyFilesError: its files are not those that were sent.
            ValueError: it does not fit.
        """
        if digest:
            policy_files.check(adapter, digest)
        self.engine.load_policy(adapter, version)
        return self.engine.policy_version

    def generate(self, packed: Packed, n: int, params: Sampling, first: int, version: int) -> list[Rollout]:
        """Sample with policy `version`; another version is an error."""
        if self.engine.policy_version != version:
            raise StalePolicyError(
                f"asked for policy {version}; the engine holds {self.engine.policy_version}"
            )
        return self.engine.generate(packed.prompts(), n, params, first)

    def score(
        self, packed: Packed, completions: list[list[int]], temperature: float
    ) -> list[NDArray[np.float32]]:
        """Log-probabilities of given completions."""
        return self.engine.score(packed.prompts(), completions, temperature)
