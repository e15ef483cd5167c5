from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reverse_codi.recipe.rollout import EngineConfig
from reverse_codi.rollout.adapter_config import AdapterError
from reverse_codi.rollout.base import BASE_VERSION, Finish, Rollout, Sampling
from reverse_codi.rollout.transformers_engine import TransformersEngine, draw, processed_logprobs
from reverse_codi.utils import micro_batch
from tests.policies import HIDDEN, greedy, load_base, logprobs_of, make_prompts, save_adapter, save_base

CONFIG = EngineConfig(kind="transformers", max_model_len=64, max_sequences=8)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def engine(base: Path) -> TransformersEngine:
    return TransformersEngine(base, CONFIG)


def same(a: Rollout, b: Rollout) -> bool:
    return np.array_equal(a.token_ids, b.token_ids) and np.allclose(a.logprobs, b.logprobs, atol=1e-5)


def test_greedy_is_the_models_own(engine: TransformersEngine, base: Path) -> None:
    prompts = make_prompts([1, 4, 2])  # padded to 4
    model = load_base(base)
    for prompt, rollout in zip(
        prompts, engine.generate(prompts, 1, Sampling(max_new_tokens=6, temperature=0)), strict=True
    ):
        assert rollout.token_ids.tolist() == greedy(model, prompt, 6)
        np.testing.assert_allclose(
            rollout.logprobs, logprobs_of(model, prompt, rollout.token_ids.tolist()), atol=1e-4
        )
        assert rollout.finish is Finish.LENGTH


def test_logprobs_are_of_the_scaled_distribution(engine: TransformersEngine, base: Path) -> None:
    (prompt,) = make_prompts([2])
    for rollout in engine.generate([prompt], 4, Sampling(max_new_tokens=5, temperature=0.7)):
        expected = logprobs_of(load_base(base), prompt, rollout.token_ids.tolist(), 0.7)
        np.testing.assert_allclose(rollout.logprobs, expected, atol=1e-4)


def test_order_and_numbers(engine: TransformersEngine) -> None:
    rollouts = engine.generate(make_prompts([1, 2, 1]), 3, Sampling(max_new_tokens=2), first=10)
    assert [rollout.prompt_index for rollout in rollouts] == [10, 10, 10, 11, 11, 11, 12, 12, 12]
    assert len({tuple(rollout.token_ids) for rollout in rollouts}) > 3


def test_seed_fixes_a_prompt_whatever_the_batch(engine: TransformersEngine, base: Path) -> None:
    prompts = make_prompts([1, 3, 2, 1, 5])
    params = Sampling(max_new_tokens=5, seed=4)
    whole = engine.generate(prompts, 3, params)
    alone = engine.generate(prompts[2:3], 3, params, first=2)
    assert all(same(a, b) for a, b in zip(whole[6:9], alone, strict=True))
    wide = TransformersEngine(base, CONFIG.model_copy(update={"max_sequences": 100}))
    assert all(same(a, b) for a, b in zip(whole, wide.generate(prompts, 3, params), strict=True))


def test_samples_of_one_prompt_are_drawn_in_parts(engine: TransformersEngine, base: Path) -> None:
    prompts = make_prompts([1, 3])
    params = Sampling(max_new_tokens=5, seed=4)
    done: list[tuple[int, int]] = []
    few = TransformersEngine(base, CONFIG.model_copy(update={"max_sequences": 4}))
    few.progress = lambda n, total: done.append((n, total))
    parts = few.generate(prompts, 10, params)
    whole = TransformersEngine(base, CONFIG.model_copy(update={"max_sequences": 100}))
    assert all(same(a, b) for a, b in zip(parts, whole.generate(prompts, 10, params), strict=True))
    assert [rollout.prompt_index for rollout in parts] == [0] * 10 + [1] * 10
    assert done == [(n, 20) for n in (4, 8, 10, 14, 18, 20)]


def test_another_seed_or_prompt_number_is_other_noise(engine: TransformersEngine) -> None:
    (prompt,) = make_prompts([1])
    params = Sampling(max_new_tokens=8)
    first = [tuple(r.token_ids) for r in engine.generate([prompt], 4, params)]
    assert first == [tuple(r.token_ids) for r in engine.generate([prompt], 4, params)]
    assert not set(first) & {tuple(r.token_ids) for r in engine.generate([prompt], 4, params, first=1)}
    assert not set(first) & {
        tuple(r.token_ids) for r in engine.generate([prompt], 4, Sampling(max_new_tokens=8, seed=1))
    }


def test_stop_token_is_kept_and_ends(engine: TransformersEngine) -> None:
    (prompt,) = make_prompts([2])
    free = engine.generate([prompt], 6, Sampling(max_new_tokens=8))
    stop = int(free[0].token_ids[3])
    for before, after in zip(
        free, engine.generate([prompt], 6, Sampling(max_new_tokens=8, stop_ids=(stop,))), strict=True
    ):
        ids = before.token_ids.tolist()
        expected = ids[: ids.index(stop) + 1] if stop in ids else ids
        assert after.token_ids.tolist() == expected
        assert len(after.logprobs) == len(expected)
        assert after.finish is (Finish.STOP if stop in ids else Finish.LENGTH)


def test_draws_follow_the_distribution() -> None:
    probabilities = torch.tensor([0.0, 0.5, 0.2, 0.3, 0.0])
    uniform = torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    uniform[0], uniform[1] = 0.0, 1 - 1e-12  # the ends may not reach a token of probability 0
    tokens = draw(probabilities.log().expand(len(uniform), -1), uniform)
    share = torch.bincount(tokens, minlength=5) / len(tokens)
    assert share[0] == share[4] == 0
    torch.testing.assert_close(share, probabilities, atol=0.015, rtol=0)


def test_truncation_renormalises() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    two = processed_logprobs(logits, Sampling(max_new_tokens=1, top_k=2)).exp()
    torch.testing.assert_close(two, torch.tensor([[0.625, 0.375, 0.0, 0.0]]))
    nucleus = processed_logprobs(logits, Sampling(max_new_tokens=1, top_p=0.7)).exp()
    torch.testing.assert_close(nucleus, torch.tensor([[0.625, 0.375, 0.0, 0.0]]))


def test_policies_are_loaded_and_versioned(engine: TransformersEngine, base: Path, tmp_path: Path) -> None:
    prompts = make_prompts([2, 1])
    params = Sampling(max_new_tokens=6, temperature=0)
    assert engine.policy_version == BASE_VERSION
    texts = []
    for version in (1, 2):
        policy = save_adapter(base, tmp_path / f"v{version}", seed=version)
        engine.load_policy(tmp_path / f"v{version}", version)
        shutil.rmtree(tmp_path / f"v{version}")  # nothing of the folder is needed once it is loaded
        rollouts = engine.generate(prompts, 1, params)
        assert {rollout.policy_version for rollout in rollouts} == {version}
        for prompt, rollout in zip(prompts, rollouts, strict=True):
            assert rollout.token_ids.tolist() == greedy(policy, prompt, 6)
        texts.append([rollout.token_ids.tolist() for rollout in rollouts])
    assert texts[0] != texts[1]


def test_scores_given_tokens(engine: TransformersEngine, base: Path) -> None:
    prompts = make_prompts([3, 1])
    completions = [[5, 9, 2], [7]]
    model = load_base(base)
    for prompt, ids, scores in zip(
        prompts, completions, engine.score(prompts, completions, 0.5), strict=True
    ):
        np.testing.assert_allclose(scores, logprobs_of(model, prompt, ids, 0.5), atol=1e-4)


def test_a_large_vocabulary_is_drawn_from_and_scored_in_parts(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, params = make_prompts([1, 3, 2]), Sampling(max_new_tokens=5, seed=4)
    completions = [[5, 9, 2], [7], [4, 4, 4]]
    drawn, scored = engine.generate(prompts, 2, params), engine.score(prompts, completions)
    shapes: list[tuple[int, ...]] = []
    engine.model.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.logits.shape)))
    monkeypatch.setattr(micro_batch, "_NO_GRADIENTS", 1)  # a row at a time
    assert all(same(a, b) for a, b in zip(drawn, engine.generate(prompts, 2, params), strict=True))
    shapes.clear()
    for one, other in zip(scored, engine.score(prompts, completions), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    words = engine.model.config.vocab_size
    assert shapes == [(1, 4, words)] * 3  # of 3 tokens at most and what stands before them


def test_an_adapter_with_missing_tensors(engine: TransformersEngine, base: Path, tmp_path: Path) -> None:
    save_adapter(base, tmp_path, seed=0)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    name = sorted(tensors)[0]
    del tensors[name]
    save_file(tensors, file)
    with pytest.raises(ValueError, match=f"missing.*{name}"):
        engine.load_policy(tmp_path, 1)
    assert engine.policy_version == BASE_VERSION


@pytest.mark.parametrize(
    "change", [{"target_modules": ["q_proj", "embed_tokens"]}, {"modules_to_save": ["lm_head"]}]
)
def test_an_adapter_that_trains_embeddings(
    engine: TransformersEngine, base: Path, tmp_path: Path, change: dict[str, list[str]]
) -> None:
    save_adapter(base, tmp_path, seed=0)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ValueError, match="linear layers only"):
        engine.load_policy(tmp_path, 1)


def test_no_adapter(engine: TransformersEngine, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no PEFT adapter"):
        engine.load_policy(tmp_path, 1)


@pytest.mark.parametrize(
    ("prompt", "n", "params", "message"),
    [
        (torch.zeros(2, HIDDEN + 1), 1, Sampling(max_new_tokens=1), rf"prompt 8 has shape .*{HIDDEN + 1}"),
        (torch.zeros(0, HIDDEN), 1, Sampling(max_new_tokens=1), "prompt 8 has shape"),
        (torch.zeros(60, HIDDEN), 1, Sampling(max_new_tokens=5), "beyond max_model_len 64"),
        (torch.full((1, HIDDEN), float("nan")), 1, Sampling(max_new_tokens=1), "prompt 8 holds a value"),
        (torch.zeros(1, HIDDEN), 2, Sampling(max_new_tokens=1, temperature=0), "2 samples at temperature 0"),
    ],
)
def test_malformed_requests(
    engine: TransformersEngine, prompt: torch.Tensor, n: int, params: Sampling, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        engine.generate([prompt], n, params, first=8)


@pytest.mark.parametrize("completions", [[[]], [[10_000]], [[1], [2]]])
def test_completions_that_cannot_be_scored(engine: TransformersEngine, completions: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="completion"):
        engine.score(make_prompts([1]), completions)


def test_nothing_to_do(engine: TransformersEngine) -> None:
    assert engine.generate([], 4, Sampling(max_new_tokens=2)) == []
    assert engine.score([], []) == []


@pytest.mark.parametrize(
    "change", [{"max_new_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}]
)
def test_impossible_sampling(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        Sampling(**{"max_new_tokens": 1, **change})


def test_a_policy_of_nan_gives_no_texts(base: Path) -> None:
    engine = TransformersEngine(base, CONFIG)
    with torch.no_grad():
        engine.model.get_output_embeddings().weight.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"policy 0 gives prompt 0 log-probabilities that are not finite"):
        engine.generate(make_prompts([2, 1]), 2, Sampling(max_new_tokens=3))
