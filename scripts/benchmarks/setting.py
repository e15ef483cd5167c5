"""The model that a size names, and thoughts to work on.

1m is the embedded reasoner with its verbalizer. 135m has SmolLM2-135M's shape, 1b Llama-3.2-1B's, and random
weights: what is timed does not depend on what the weights say, but for the lengths of texts, which every side
is given alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import ASSETS, load_reasoner
from reverse_codi.recipe.rollout import EngineConfig, RolloutSection
from reverse_codi.recipe.verbalizer import VerbalizerSection
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Problem, Split
from reverse_codi.verbalize.policy import Policy

SizeName = Literal["1m", "135m", "1b"]
Device = Literal["cpu", "cuda"]
GPU_SHARE = 0.15
"""Of a GPU and of its memory, what each engine takes: several are there at once."""


@dataclass(frozen=True)
class Setting:
    """What all rows of one size work on.

    Attributes:
        size: its name.
        base: folder of the reasoner.
        adapter: folder of the verbalizer's adapter.
        reasoner: the frozen model.
        policy: the verbalizer.
        problems: held-out problems.
        vectors: [N, 1, d] a thought of each problem, as it enters the verbalizer.
        device: of everything that computes.
    """

    size: SizeName
    base: Path
    adapter: Path
    reasoner: CodiReasoner
    policy: Policy
    problems: Sequence[Problem]
    vectors: Tensor
    device: Device = "cpu"

    @property
    def dtype(self) -> str:
        """Of the weights, and so of engines."""
        return str(self.reasoner.lm.dtype).removeprefix("torch.")

    def rollout(self, **engine: Any) -> RolloutSection:
        """One actor, with an engine of these keys; two or three share two cores."""
        of_all = {"max_model_len": 64, "dtype": self.dtype, "device": self.device}
        if self.device == "cuda":
            of_all |= {"gpu_memory_utilization": GPU_SHARE}
        gpus = GPU_SHARE if self.device == "cuda" else 0
        return RolloutSection(cpus=0.5, gpus=gpus, engine=EngineConfig(**of_all | engine))

    @property
    def metric(self) -> ThoughtMetric:
        """The maps beside the verbalizer."""
        return ThoughtMetric.load(self.adapter, self.reasoner)


def setting(size: SizeName, n: int, work: Path, device: Device = "cpu") -> Setting:
    """The setting of a size.

    Args:
        size: its name.
        n: N, the number of thoughts.
        work: an empty folder for a model that is made.
        device: of everything that computes.
    """
    problems = Arithmetic().problems(Split.HELDOUT, n, seed=0)
    if size == "1m":
        base, adapter = ASSETS / "reasoner", ASSETS / "verbalizer"
        reasoner = load_reasoner(base, device=device)
        policy = Policy.load(adapter, reasoner, trainable=True)
    else:
        from benchmarks.large import SHAPES, make_large, make_maps

        base, adapter = work / "reasoner", work / "verbalizer"
        reasoner, policy = make_large(base, VerbalizerSection(), SHAPES[size], device)
        policy.save(adapter)
        make_maps(reasoner).save(adapter)
    z = reasoner.think([problem.question for problem in problems]).latent_inputs[:, 1:2]
    with torch.no_grad():
        vectors = policy.verbalizer_config.inject(z)
    return Setting(size, base, adapter, reasoner, policy, problems, vectors, device)


def matrix_products(reasoner: CodiReasoner, tokens: int) -> None:
    """What the layers take of the processor for so many tokens: two operations a weight and token."""
    width = reasoner.width
    layers = sum(w.numel() for name, w in reasoner.lm.named_parameters() if "layers" in name)
    kind = {"device": reasoner.device, "dtype": reasoner.lm.dtype}
    left, right = torch.randn(1024, width, **kind), torch.randn(width, 4 * width, **kind)
    for _ in range(max(1, round(layers / (width * 4 * width) * tokens / 1024))):
        product = left @ right
    product[0, 0].item()  # waits for a GPU
