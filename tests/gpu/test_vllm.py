"""VLLM on a GPU, against the transformers engine in float32; skipped where there is no GPU."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from reverse_codi.reasoners.load import ASSETS, load_reasoner
from reverse_codi.recipe.rollout import EngineConfig
from reverse_codi.rollout.base import Sampling
from reverse_codi.rollout.transformers_engine import TransformersEngine
from reverse_codi.rollout.vllm_engine import VllmEngine

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.timeout(300),
]

BASE, FIRST, SECOND = ASSETS / "reasoner", ASSETS / "warm", ASSETS / "verbalizer"
TEXTS = 4


@pytest.fixture(scope="module")
def prompts() -> list[Tensor]:
    """Thoughts of the embedded reasoner as prompts, each [1, d]."""
    chains = load_reasoner(BASE).think(
        ["Tom has 3 apples and buys 4. How many?", "Ann has 9 pens. How many?"]
    )
    return list(chains.latent_inputs.flatten(0, 1)[:, None])


@pytest.fixture(
    params=[
        ("merged", "float32", True),
        ("lora", "bfloat16", True),
        ("merged", "bfloat16", True),
        ("merged", "bfloat16", False),
        ("lora", "bfloat16", False),
    ],
    ids=lambda case: f"{case[0]}-{case[1]}-{'eager' if case[2] else 'compiled'}",
)
def config(request: pytest.FixtureRequest) -> EngineConfig:
    """Every way in which a policy reaches vLLM."""
    policy, dtype, eager = request.param
    return EngineConfig(
        device="cuda",
        policy=policy,
        dtype=dtype,
        enforce_eager=eager,
        max_model_len=64,
        gpu_memory_utilization=0.1,
    )


@pytest.fixture
def engine(config: EngineConfig) -> Iterator[VllmEngine]:
    """VLLM so configured."""
    engine = VllmEngine(BASE, config)
    yield engine
    engine.close()


def test_texts_come_from_the_policy_that_was_loaded_last(engine: VllmEngine, prompts: list[Tensor]) -> None:
    near = 0.02 if engine.config.dtype == "float32" else 0.5
    reference = TransformersEngine(BASE, EngineConfig(kind="transformers", device="cuda", max_model_len=64))
    for version, adapter in enumerate((FIRST, SECOND), start=1):
        engine.load_policy(adapter, version)
        reference.load_policy(adapter, version)
        rollouts = engine.generate(prompts, TEXTS, Sampling(max_new_tokens=12, stop_ids=(1,)))
        assert len(rollouts) == len(prompts) * TEXTS
        assert {rollout.policy_version for rollout in rollouts} == {version}
        written = [rollout.token_ids.tolist() for rollout in rollouts]
        asked = [prompts[rollout.prompt_index] for rollout in rollouts]
        wanted = reference.score(asked, written)
        sampled = [rollout.logprobs for rollout in rollouts]
        few = slice(0, 3)  # the canary's way, a request a token
        scored = engine.score(asked[few], written[few])
        assert _apart(sampled, wanted) < near
        assert _apart(scored, wanted[few]) < near


def _apart(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The largest difference of log-probabilities, in nats a token."""
    return max(float(np.abs(a - b).max()) for a, b in zip(found, wanted, strict=True))
