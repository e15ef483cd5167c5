"""What several reward functions share of a batch: each has lists of its own, and tensors are watched.

The states of 4,096 texts at 17 layers and 4 points of width 2,048 take 2.3 GB, so tensors are not copied.
PyTorch counts in-place operations, which costs nothing and says whose they are. What writes past PyTorch, as
NumPy does through `tensor.numpy()`, shows in a checksum (docs/rewards.md has the cost).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
import xxhash
from torch import Tensor

from reverse_codi.rewards.batch import RewardBatch, RewardError
from reverse_codi.rewards.candidates import StepTexts
from reverse_codi.rewards.declare import RewardSpec
from reverse_codi.utils.user_code import innermost

# Modules whose functions are tested not to write; a run that uses no others pays for no checksum.
TESTED = frozenset(
    f"reward.{name}"
    for name in (
        "answer_preserved",
        "brevity",
        "contrastive",
        "fluency",
        "format",
        "gold_claim",
        "hidden_match",
        "next_token_match",
        "novelty",
        "reconstruction",
    )
)


class BatchGuard:
    """Hands a batch to several functions and finds who writes into it.

    Args:
        batch: what all of them share.
        functions: all of them.
    """

    def __init__(self, batch: RewardBatch, functions: Sequence[RewardSpec]) -> None:
        self.batch = batch
        self._watched = {reward.name for reward in functions if not _is_tested(reward)}
        self._shown: dict[str, RewardBatch] = {}
        self._maps = self._map_versions()
        self._sums = _sums(batch) if self._watched else {}

    def shown_to(self, reward: RewardSpec) -> RewardBatch:
        """The batch with tensors whose in-place operations are counted apart.

        Its lists are a function's own, unless tests say that it writes into none: copies of five functions
        took a tenth of the time of scoring.
        """
        copied = reward.name in self._watched
        own = {field.name: _own(getattr(self.batch, field.name), copied) for field in fields(self.batch)}
        self._shown[reward.name] = replace(self.batch, **own)
        return self._shown[reward.name]

    def check(self, reward: RewardSpec, beside: Sequence[str]) -> None:
        """Whether the batch is still what it was, after a function is done.

        Args:
            reward: which has just returned.
            beside: names of others that may be running, or may have been, since the last check.

        Raises:
            RewardError: someone wrote into it; where only a checksum says so, all who may have are named.
        """
        suspects = [reward.name, *beside]
        for name in suspects:
            if written := [what for what, tensor in _tensors(self._shown[name]) if _version(tensor)]:
                raise _error(name, f"batch.{written[0]}")
        maps = self._map_versions()
        if moved := [name for name, version in maps.items() if version != self._maps.get(name)]:
            raise _error(" or ".join(suspects), f"batch.metric's map {moved[0]}")
        if suspects := [name for name in suspects if name in self._watched]:
            sums = _sums(self.batch)
            if changed := [name for name, value in sums.items() if value != self._sums[name]]:
                raise _error(" or ".join(suspects), f"batch.{changed[0]}")

    def _map_versions(self) -> dict[str, int]:
        return {
            f"{site}.{name}": _version(value)
            for site, fitted in self.batch.metric.maps.items()
            for name, value in vars(fitted).items()
            if isinstance(value, Tensor)
        }


def _error(name: str, what: str) -> RewardError:
    return RewardError(name, f"wrote into {what}, which all rewards share; write into a copy: .clone()")


def _is_tested(reward: RewardSpec) -> bool:
    return getattr(innermost(reward.function), "__module__", "") in TESTED


def _own(value: Any, copied: bool) -> Any:
    """Lists copied where that is asked for, tensors under a handle of their own, the rest as it is."""
    if isinstance(value, list):
        return [list(item) if isinstance(item, list) else item for item in value] if copied else value
    if isinstance(value, StepTexts):
        texts, thoughts, sites = (_own(part, copied) for part in (value.texts, value.thoughts, value.sites))
        return StepTexts(texts, thoughts, value.targets.data, sites)
    if isinstance(value, dict):
        return {key: _own(item, copied) for key, item in value.items()}
    # `.data` shares the memory and starts a count of in-place operations at 0.
    return value.data if isinstance(value, Tensor) else value


def _tensors(batch: RewardBatch) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a batch with its name."""
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Tensor):
            yield field.name, value
        elif isinstance(value, StepTexts):
            yield f"{field.name}.targets", value.targets
        elif isinstance(value, dict):
            yield from ((f"{field.name}[{key}]", item) for key, item in value.items())


def _version(tensor: Tensor) -> int:
    """How often it was written in place; inference tensors do not count."""
    return 0 if tensor.is_inference() else tensor._version


def _sums(batch: RewardBatch) -> dict[str, int]:
    """A checksum of every tensor's bytes."""
    return {
        name: xxhash.xxh3_64_intdigest(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
        )
        for name, tensor in _tensors(batch)
    }
