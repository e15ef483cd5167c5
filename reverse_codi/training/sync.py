"""Bringing the rollout actors to the trainer's weights, and proof that they are there.

Rollouts from a stale or base policy are the costliest silent bug of such systems. So every version is
a new folder, the pool acknowledges it, and a canary compares the log-probabilities that trainer and
engines give to a fixed probe before anything that was sampled is used.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from reverse_codi.errors import UserError
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.rollout import EngineConfig
from reverse_codi.rollout.pool import RolloutPool
from reverse_codi.storage.folders import whole_folder
from reverse_codi.training.served import other_policy
from reverse_codi.utils.finite import NotFiniteError
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.thoughts import Thoughts, bank_rows

# Texts whose log-probabilities trainer and engines compare after every sync.
CANARY_TEXTS = 8
# Tokens of each text but the first, which is compared whole. vLLM reads a text anew for each token: of
# 8 whole texts of 12 tokens it would read 720, of these 190.
CANARY_TOKENS = 4
# Nats a token. On the embedded verbalizer with 64 texts, both sides in bfloat16 differ by at most .31
# (weights of float32, autocast) or .22 (weights of bfloat16), both in float32 by less than .0001.
TOLERANCE, TOLERANCE_OF_HALF = 0.05, 0.5


class CanaryError(UserError):
    """Trainer and engine disagree about the same tokens."""


@dataclass(frozen=True)
class Canary:
    """A fixed probe that trainer and engines score after every sync.

    Attributes:
        prompts: prompt ids.
        texts: token ids, one text a prompt.
        temperature: of the rollouts.
        tolerance: largest allowed difference of log-probabilities, in nats a token.
    """

    prompts: Sequence[Sequence[int]]
    texts: Sequence[Sequence[int]]
    temperature: float
    tolerance: float

    @classmethod
    def of(cls, policy: Policy, thoughts: Thoughts, section: GrpoSection, engine: EngineConfig) -> Self:
        """The gold texts of the first training thoughts, whose bank is to be in use."""
        usual = TOLERANCE if engine.dtype == "float32" else TOLERANCE_OF_HALF
        probe = thoughts.take(range(min(CANARY_TEXTS, len(thoughts))))
        texts = policy.tokenizer(probe.gold, add_special_tokens=False).input_ids
        prompts = policy.prompts(bank_rows(probe))
        compared = beginnings(texts, section.max_new_tokens)
        return cls(prompts, compared, section.temperature, section.canary_tolerance or usual)


def beginnings(texts: Sequence[Sequence[int]], longest: int) -> list[Sequence[int]]:
    """What the canary compares of token ids: of the first text `longest`, of the others `CANARY_TOKENS`."""
    return [ids[: min(longest, CANARY_TOKENS) if row else longest] for row, ids in enumerate(texts)]


@dataclass(frozen=True)
class _Unproven:
    """A version that actors were asked for, and did not answer for yet.

    Attributes:
        version: its number.
        folder: where it is written.
        ours: [T] the trainer's log-probabilities of the probe.
        loaded: waits until all actors have it.
        scored: waits for the actors' log-probabilities, [actor][text] of [T].
    """

    version: int
    folder: Path
    ours: NDArray[np.float32]
    loaded: Callable[[], None]
    scored: Callable[[], list[list[NDArray[np.float32]]]]


class PolicySync:
    """Syncs the pool with the trainer when a step has changed the weights.

    Args:
        policy: the trainer's.
        pool: the actors.
        folder: where versions are written.
        probe: what both sides score; its bank rows are those in use.

    Versions go on from the one that the pool holds: an earlier stage may have brought it.
    """

    def __init__(self, policy: Policy, pool: RolloutPool, folder: Path, probe: Canary) -> None:
        self.policy = policy
        self.pool = pool
        self.folder = folder
        self.probe = probe
        self.first = (pool.policy_version or 0) + 1
        self.difference = 0.0
        """Largest difference that the last canary saw."""
        self._before: dict[int, NDArray[np.float32]] = {}  # version of the last canary -> our [T] there
        self._unproven: _Unproven | None = None

    def __call__(self, step: int) -> int:
        """Sync to the weights after `step` optimizer steps and compare; returns their version."""
        version = self.begin(step)
        self.check()
        return version

    def begin(self, step: int) -> int:
        """Let actors load the weights after `step` optimizer steps, and do not wait for them.

        Returns:
            Their version. The pool samples with it at once, but use no text before `check`.

        Raises:
            NotFiniteError: the trainer's log-probabilities of the probe are not finite.
        """
        self.check()
        version = self.first + step  # 0 is the model without an adapter
        if self.pool.policy_version == version:
            return version
        folder = self.folder / f"v{version:06d}"
        with whole_folder(folder) as temporary:
            self.policy.save(temporary)
        loaded = self.pool.begin_sync(folder, version)
        embeds = [self.policy.embedding.of(ids) for ids in self.probe.prompts]
        scored = self.pool.begin_score(embeds, self.probe.texts, self.probe.temperature)
        ours = self._trainer_logprobs()  # while the actors load
        if not np.isfinite(ours).all():
            raise NotFiniteError(
                f"after {step} optimizer steps the policy's log-probabilities are not finite, so it is "
                "neither kept nor sampled from; lower grpo.learning_rate"
            )
        self._unproven = _Unproven(version, folder, ours, loaded, scored)
        return version

    def check(self) -> None:
        """Wait until the actors have what `begin` asked for, and compare log-probabilities of the probe.

        Raises:
            CanaryError: an actor's differ, are not finite, or are nearer to another policy's.
            RolloutError: see `RolloutPool.begin_sync`.
        """
        asked, self._unproven = self._unproven, None
        if asked is None:
            return
        asked.loaded()
        # Only now: an actor that is replaced loads the newest version again.
        for old in self.folder.glob("v*"):
            if old != asked.folder:
                shutil.rmtree(old)
        self._compare(asked.version, asked.ours, asked.scored())

    def _compare(
        self, version: int, ours: NDArray[np.float32], scored: Sequence[Sequence[NDArray[np.float32]]]
    ) -> None:
        self.difference = 0.0
        for actor, rows in enumerate(scored):
            theirs = np.concatenate(rows)
            worst = float(np.abs(theirs - ours).max())  # NaN where one is, which Python's max may lose
            self.difference = float(np.maximum(self.difference, worst))
            if not worst <= self.probe.tolerance:
                raise CanaryError(
                    f"rollout actor {actor} differs from the trainer by {worst:.3f} nats on the probe after "
                    f"sync to policy {version} (tolerance {self.probe.tolerance}): it samples from other "
                    "weights. Check rollout.engine (dtype, policy: merged | lora), or raise "
                    "grpo.canary_tolerance for low precision"
                )
            if wrong := other_policy(theirs, ours, self._base_logprobs, self._before):
                raise CanaryError(
                    f"rollout actor {actor} does not serve policy {version}, which it acknowledged: {wrong}. "
                    "Check rollout.engine (dtype, policy: merged | lora)"
                )
        self._before = {version: ours}

    @functools.cached_property
    def _base_logprobs(self) -> NDArray[np.float32]:
        """[T], of the model without an adapter."""
        with self.policy.model.disable_adapter():
            return self._trainer_logprobs()

    @torch.no_grad()
    def _trainer_logprobs(self) -> NDArray[np.float32]:
        """[T], of all texts one after the other; those of one length go through together."""
        was_training = self.policy.model.training
        self.policy.model.eval()
        device = self.policy.embedding.weight.device
        probe = list(zip(self.probe.prompts, self.probe.texts, strict=True))
        of_length: dict[tuple[int, int], list[int]] = {}
        for row, (prompt, text) in enumerate(probe):
            of_length.setdefault((len(prompt), len(text)), []).append(row)
        scores: dict[int, NDArray[np.float32]] = {}
        for (start, length), rows in of_length.items():
            ids = torch.tensor([[*probe[row][0], *probe[row][1]] for row in rows], device=device)
            logits = self.policy.model(input_ids=ids, logits_to_keep=length + 1).logits[:, :-1].float()
            logprobs = (logits / self.probe.temperature).log_softmax(-1)
            found = logprobs.gather(2, ids[:, start:, None])[..., 0].cpu().numpy()
            scores.update(zip(rows, found, strict=True))
        self.policy.model.train(was_training)
        return np.concatenate([scores[row] for row in range(len(probe))])
