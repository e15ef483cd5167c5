"""A reasoner in bfloat16 with adapters in float32: what a GPU of usual size holds, tested on CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill import mixed_precision
from reverse_codi.recipe.rollout import EngineConfig
from reverse_codi.rollout.transformers_engine import TransformersEngine
from reverse_codi.training.sync import TOLERANCE, TOLERANCE_OF_HALF
from reverse_codi.verbalize.greedy import engine_config, greedy, greedy_engine, prompts_of
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.warm_start import SftPairs, encode
from tests.tiny import make_sharp_reasoner, make_tiny_policy, stir
from tests.unit.training.test_grpo_micro_batches import Run
from tests.unit.verbalize.test_micro_batches import TEXTS, taught


@pytest.fixture(scope="module")
def reasoner(tmp_path_factory: pytest.TempPathFactory) -> CodiReasoner:
    made = make_sharp_reasoner()
    made.lm.to(torch.bfloat16)
    made.model.prj.to(torch.bfloat16)
    made.save_pretrained(tmp_path_factory.mktemp("reasoner"))
    return made


def types(policy: Policy) -> tuple[set[torch.dtype], set[torch.dtype]]:
    """Of the weights and of the adapters."""
    named = list(policy.model.named_parameters())
    return {w.dtype for n, w in named if "lora_" not in n}, {w.dtype for n, w in named if "lora_" in n}


def test_new_and_loaded_adapters_are_float32(reasoner: CodiReasoner, tmp_path: Path) -> None:
    policy = make_tiny_policy(reasoner)
    stir(policy)
    policy.save(tmp_path)
    loaded = Policy.load(tmp_path, reasoner, trainable=True)
    assert types(policy) == types(loaded) == ({torch.bfloat16}, {torch.float32})
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.float32}
    mine, its = dict(policy.model.named_parameters()), dict(loaded.model.named_parameters())
    assert all(torch.equal(mine[name], its[name]) for name in mine)


@pytest.mark.parametrize(("autocast", "gradient_checkpointing"), [(False, True), (True, False)])
def test_the_warm_start_trains(
    reasoner: CodiReasoner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    autocast: bool,
    gradient_checkpointing: bool,
) -> None:
    monkeypatch.setattr(mixed_precision, "has_fast_bfloat16", lambda on_cpu: autocast)
    settings = {"learning_rate": 1e-2, "micro_batch": 3, "gradient_checkpointing": gradient_checkpointing}
    losses = []
    for steps in (1, 40):
        log, change, policy = taught(reasoner, tmp_path, steps=steps, **settings)
        assert bool(change.isfinite().all()) and all(bool(g.isfinite().all()) for g in log.gradients)
        losses.append(loss(policy))
        assert types(policy) == ({torch.bfloat16}, {torch.float32})
    assert losses[1] < 0.7 * losses[0]


@torch.no_grad()
def loss(policy: Policy) -> float:
    vectors = torch.randn(len(TEXTS), 1, 32, generator=torch.Generator().manual_seed(0))
    rows = encode(SftPairs(vectors, TEXTS), policy.verbalizer_config, policy.tokenizer)
    with policy.embedding.bank(vectors.flatten(0, 1)):
        losses = [
            policy.model.eval()(
                input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])
            ).loss
            for row in rows
        ]
    return float(torch.stack(losses).mean())


def test_grpo_trains_all_adapters_in_float32(reasoner: CodiReasoner, tmp_path: Path) -> None:
    run = Run(reasoner, tmp_path, micro_batch=5, learning_rate=1e-2)
    assert types(run.policy) == ({torch.bfloat16}, {torch.float32})  # the reference's too
    assert all(bool(g.isfinite().all()) and float(g.norm()) > 0 for g in run.gradients)
    # The first step is the reference itself. What bfloat16 rounds alike cancels in the divergence.
    assert run.logged("kl")[0] == pytest.approx(0, abs=1e-6)
    assert run.logged("kl")[-1] > 1e-4
    # A step of .01 is lost on a weight of 4 in bfloat16, and not in float32.
    assert float((run.change != 0).float().mean()) > 0.9


def test_an_engine_in_bfloat16_agrees_within_the_canarys_tolerance(
    reasoner: CodiReasoner, tmp_path: Path
) -> None:
    policy = make_tiny_policy(reasoner)
    stir(policy)
    policy.save(tmp_path)
    texts = [reasoner.ids(text) for text in TEXTS[:4]]
    vectors = torch.randn(4, 1, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), policy.embedding.bank(vectors.flatten(0, 1)):
        prompts = policy.prompts([[row] for row in range(4)])
        embeds = [policy.embedding.of(ids) for ids in prompts]
        rows = [torch.tensor([[*p, *t]]) for p, t in zip(prompts, texts, strict=True)]
        logits = [policy.model.eval()(input_ids=row).logits[0, :-1].float() for row in rows]
        ours = [
            scores.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
            for scores, ids in zip(logits, texts, strict=True)
        ]
    config = EngineConfig(kind="transformers", dtype="bfloat16", max_model_len=64)
    engine = TransformersEngine(reasoner.saved_path(), config)
    base = engine.score(embeds, texts)
    engine.load_policy(tmp_path, 1)
    theirs = engine.score(embeds, texts)
    assert worst(ours, theirs) < TOLERANCE < TOLERANCE_OF_HALF
    assert worst(ours, base) > TOLERANCE_OF_HALF  # another policy shows all the same


def worst(ours: list[torch.Tensor], theirs: list[NDArray[np.float32]]) -> float:
    return max(float((a - torch.from_numpy(b)).abs().max()) for a, b in zip(ours, theirs, strict=True))


def test_the_policy_in_memory_writes_what_an_engine_that_loads_it_writes(
    reasoner: CodiReasoner, tmp_path: Path
) -> None:
    policy = make_tiny_policy(reasoner)
    stir(policy)
    policy.save(tmp_path)
    slots = torch.randn(6, 1, 32, generator=torch.Generator().manual_seed(0))
    prompts = prompts_of(policy, slots)
    in_memory = TransformersEngine(policy.model.eval(), engine_config(reasoner))
    loaded = greedy_engine(reasoner, tmp_path)
    assert in_memory.dtype == loaded.dtype == torch.bfloat16
    # Adapters are added in one and merged in the other, which rounds otherwise.
    scores = [engine.score(prompts, [[1, 2]] * 6) for engine in (in_memory, loaded)]
    assert np.abs(np.stack(scores[0]) - np.stack(scores[1])).max() < TOLERANCE_OF_HALF
    assert len(greedy(in_memory.generate, policy, slots, 5)) == 6
