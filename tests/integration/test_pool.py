"""The rollout pool on real Ray, and the two engines against each other."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
import torch

from reverse_codi.recipe.rollout import EngineConfig, RolloutSection
from reverse_codi.rollout.actor import RolloutActor
from reverse_codi.rollout.base import EngineBrokenError, Rollout, Sampling
from reverse_codi.rollout.errors import (
    RolloutDataError,
    RolloutInfrastructureError,
    RolloutTimeoutError,
    StalePolicyError,
)
from reverse_codi.rollout.policy_files import PolicyFiles
from reverse_codi.rollout.pool import RolloutPool
from reverse_codi.rollout.transformers_engine import TransformersEngine
from tests.policies import make_prompts, save_adapter, save_base

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("ray_session")]

CONFIG = EngineConfig(
    kind="transformers", max_model_len=64, max_sequences=64, kv_cache_mib=64, max_lora_rank=8
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("adapters")
    for version in (1, 2):
        save_adapter(base, root / f"v{version}", seed=version)
    return [root / "v1", root / "v2"]


def section(**values: object) -> RolloutSection:
    return RolloutSection.model_validate(
        {"engine": CONFIG, "cpus": 0.4, "timeout_s": 120, "max_restarts": 10, **values}
    )


@pytest.fixture(scope="module")
def pool(ray_session: None, base: Path) -> Iterator[RolloutPool]:
    with RolloutPool(base, section(actors=2)) as pool:
        yield pool


def test_each_actor_says_what_its_process_took(pool: RolloutPool) -> None:
    peaks = pool.peaks()
    assert len(peaks) == 2
    assert all(0.1 < peak.host < 10 and peak.gpu == 0 for peak in peaks)


def local(base: Path, adapter: Path | None = None, version: int = 0) -> TransformersEngine:
    engine = TransformersEngine(base, CONFIG)
    if adapter is not None:
        engine.load_policy(adapter, version)
    return engine


def same(a: Sequence[Rollout], b: Sequence[Rollout]) -> None:
    assert [r.prompt_index for r in a] == [r.prompt_index for r in b]
    assert [r.token_ids.tolist() for r in a] == [r.token_ids.tolist() for r in b]
    assert [r.finish for r in a] == [r.finish for r in b]
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x.logprobs, y.logprobs, atol=1e-4)


@pytest.mark.parametrize("n_prompts", [1, 2, 5])
def test_the_number_of_actors_changes_nothing(
    pool: RolloutPool, base: Path, adapters: list[Path], n_prompts: int
) -> None:
    prompts = make_prompts([1, 3, 2, 1, 4])[:n_prompts]
    params = Sampling(max_new_tokens=6, seed=3, stop_ids=(11, 12, 13))
    pool.sync(adapters[0], version=1)
    rollouts = pool.generate(prompts, 3, params, version=1)
    same(rollouts, local(base, adapters[0], 1).generate(prompts, 3, params))
    assert {r.policy_version for r in rollouts} == {1}


def test_an_actor_that_dies_while_nobody_waits_is_replaced_and_asked_again(
    pool: RolloutPool, base: Path, adapters: list[Path]
) -> None:
    prompts, params = make_prompts([1, 3, 2]), Sampling(max_new_tokens=6, seed=3)
    pool.sync(adapters[0], version=1)
    before = pool.restarts
    begun = pool.begin(prompts, 3, params, version=1)
    ray.kill(pool.actor(0))
    same(begun(), local(base, adapters[0], 1).generate(prompts, 3, params))
    assert pool.restarts == before + 1


def test_an_actor_that_dies_with_several_requests_is_replaced_once_and_does_them_all(
    pool: RolloutPool, base: Path, adapters: list[Path]
) -> None:
    prompts, params = make_prompts([1, 3, 2]), Sampling(max_new_tokens=6, seed=3)
    completions = [[5, 6, 7], [8], [9, 10]]
    pool.sync(adapters[0], version=1)
    before = pool.restarts
    loaded = pool.begin_sync(adapters[1], version=2)
    scored = pool.begin_score(prompts, completions)
    begun = pool.begin(prompts, 3, params, version=2)
    assert pool.policy_version is None
    ray.kill(pool.actor(0))
    loaded()
    assert pool.policy_version == 2
    engine = local(base, adapters[1], 2)
    for scores in scored():
        for got, wanted in zip(scores, engine.score(prompts, completions), strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-5)
    same(begun(), engine.generate(prompts, 3, params))
    assert pool.restarts == before + 1


def test_no_prompts(pool: RolloutPool, adapters: list[Path]) -> None:
    pool.sync(adapters[0], version=1)
    assert pool.generate([], 3, Sampling(max_new_tokens=1), version=1) == []


def test_sync_reaches_every_actor_and_another_version_is_refused(
    pool: RolloutPool, base: Path, adapters: list[Path]
) -> None:
    prompts, completions = make_prompts([2, 1]), [[5, 6, 7], [8]]
    for version, adapter in enumerate(adapters, start=1):
        pool.sync(adapter, version)
        expected = local(base, adapter).score(prompts, completions, 0.8)
        for scores in pool.begin_score(prompts, completions, 0.8)():
            for got, wanted in zip(scores, expected, strict=True):
                np.testing.assert_allclose(got, wanted, atol=1e-5)
    for version in (0, 1, 3):
        with pytest.raises(StalePolicyError, match=rf"asked for policy {version}; the pool holds 2"):
            pool.generate(prompts, 1, Sampling(max_new_tokens=1), version=version)


def test_an_actor_left_behind_is_found_out(pool: RolloutPool, adapters: list[Path]) -> None:
    pool.sync(adapters[0], version=1)
    ray.get(pool._actors[1].load_policy.remote(str(adapters[1]), 2))  # behind the pool's back
    with pytest.raises(StalePolicyError, match="actor 1: asked for policy 1; the engine holds 2"):
        pool.generate(make_prompts([1, 1]), 1, Sampling(max_new_tokens=1), version=1)


def test_a_failed_sync_leaves_no_usable_version(
    pool: RolloutPool, adapters: list[Path], tmp_path: Path
) -> None:
    pool.sync(adapters[0], version=1)
    with pytest.raises(RolloutDataError, match="no PEFT adapter"):
        pool.sync(tmp_path, version=2)
    for version in (1, 2):
        with pytest.raises(StalePolicyError, match="the pool holds None"):
            pool.generate(make_prompts([1]), 1, Sampling(max_new_tokens=1), version=version)
    pool.sync(adapters[0], version=1)
    assert pool.policy_version == 1


def test_a_malformed_prompt_is_a_data_error_and_kills_nobody(pool: RolloutPool, adapters: list[Path]) -> None:
    pool.sync(adapters[0], version=1)
    with pytest.raises(RolloutDataError, match=r"actor 1 refused the request: prompt 3 .*max_model_len 64"):
        pool.generate(make_prompts([1, 1, 1, 62]), 1, Sampling(max_new_tokens=3), version=1)
    assert len(pool.generate(make_prompts([1, 1]), 1, Sampling(max_new_tokens=1), version=1)) == 2


def test_a_killed_actor_is_replaced_with_its_policy(
    pool: RolloutPool, base: Path, adapters: list[Path]
) -> None:
    prompts, params = make_prompts([1, 2, 3]), Sampling(max_new_tokens=4)
    pool.sync(adapters[1], version=2)
    before = pool.restarts
    pid = ray.get(pool._actors[0].__ray_call__.remote(lambda actor: os.getpid()))
    os.kill(pid, signal.SIGKILL)
    rollouts = pool.generate(prompts, 2, params, version=2)
    assert pool.restarts == before + 1
    same(rollouts, local(base, adapters[1], 2).generate(prompts, 2, params))


def break_engine(actor: RolloutActor) -> None:
    def broken(*_: object) -> None:
        raise EngineBrokenError("no more memory")

    vars(actor.engine)["generate"] = broken


def test_a_broken_engine_is_replaced(pool: RolloutPool, adapters: list[Path]) -> None:
    pool.sync(adapters[0], version=1)
    before = pool.restarts
    ray.get(pool._actors[1].__ray_call__.remote(break_engine))
    assert len(pool.generate(make_prompts([1, 1]), 2, Sampling(max_new_tokens=1), version=1)) == 4
    assert pool.restarts == before + 1


def test_it_gives_up_after_max_restarts_in_a_row(
    pool: RolloutPool, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.sync(adapters[0], version=1)
    assert pool.restarts > 0  # those that were followed by an answer do not count
    monkeypatch.setattr(pool, "section", pool.section.model_copy(update={"max_restarts": 1}))

    def dies(actor: Any) -> Any:
        return actor.__ray_call__.remote(lambda _: os._exit(1))

    before = pool.restarts
    with pytest.raises(RolloutInfrastructureError, match=r"actor 0 failed \(.* died.*\) after 1 restarts"):
        pool._run({0: dies})
    assert pool.restarts == before + 1
    monkeypatch.undo()
    assert len(pool.generate(make_prompts([1, 1]), 1, Sampling(max_new_tokens=1), version=1)) == 2


def test_a_stopped_actor_is_killed_replaced_and_asked_again(
    pool: RolloutPool, base: Path, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, params = make_prompts([1, 2, 3]), Sampling(max_new_tokens=4)
    pool.sync(adapters[1], version=2)
    before = pool.restarts
    stopped = ray.get(pool._actors[1].__ray_call__.remote(lambda actor: os.getpid()))
    os.kill(stopped, signal.SIGSTOP)
    monkeypatch.setattr(pool, "section", pool.section.model_copy(update={"timeout_s": 5}))
    rollouts = pool.generate(prompts, 2, params, version=2)
    assert pool.restarts == before + 1
    same(rollouts, local(base, adapters[1], 2).generate(prompts, 2, params))
    deadline = time.monotonic() + 10
    while psutil.pid_exists(stopped) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(stopped)


def test_what_takes_too_long_twice_ends_in_an_error_that_names_the_actor(
    pool: RolloutPool, adapters: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.sync(adapters[0], version=1)
    monkeypatch.setattr(pool, "section", pool.section.model_copy(update={"timeout_s": 3}))
    before = pool.restarts
    with pytest.raises(RolloutTimeoutError, match=r"actors \[1\] did not answer in 3 s, nor did those"):
        pool._run({1: lambda actor: actor.__ray_call__.remote(lambda _: time.sleep(600))})
    assert pool.restarts == before + 2  # and the next request finds an actor that answers
    assert len(pool.generate(make_prompts([1, 1]), 1, Sampling(max_new_tokens=1), version=1)) == 2


def test_files_that_changed_on_their_way_are_refused(pool: RolloutPool, adapters: list[Path]) -> None:
    """As a damaged disk, or a network file system that is behind, would show them to an actor."""
    pool.sync(adapters[0], version=1)
    sent = PolicyFiles.of(adapters[0], 2)
    other = replace(sent, folder=str(adapters[1].resolve()))
    with pytest.raises(
        RolloutDataError, match=r"rollout actor \d cannot load policy 2: the files in .*v2 are not those"
    ):
        pool._run(pool._all(other.load), "cannot load policy 2")
    pool.sync(adapters[0], version=1)


def test_a_truncated_adapter_names_actor_and_version(
    pool: RolloutPool, adapters: list[Path], tmp_path: Path
) -> None:
    shutil.copytree(adapters[0], tmp_path / "cut")
    file = tmp_path / "cut/adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(RolloutDataError, match=r"rollout actor \d cannot load policy 9: "):
        pool.sync(tmp_path / "cut", version=9)
    pool.sync(adapters[0], version=1)


def test_no_room_for_an_actor(base: Path) -> None:
    with pytest.raises(RolloutTimeoutError, match=r"actor 0 did not start in 3 s; it needs 64 CPU"):
        RolloutPool(base, section(cpus=64, start_timeout_s=3))


@pytest.mark.slow
def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(RolloutInfrastructureError, match="actor 0 cannot start"):
        RolloutPool(tmp_path, section())


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.parametrize("policy", ["merged", pytest.param("lora", marks=pytest.mark.slow)])
def test_vllm_is_the_transformers_engine(
    base: Path, adapters: list[Path], tmp_path: Path, policy: str
) -> None:
    prompts = make_prompts([1, 3, 2])
    greedy = Sampling(max_new_tokens=8, temperature=0)
    sampled = Sampling(max_new_tokens=8, temperature=0.7, seed=1, stop_ids=(11, 12, 13, 14, 15, 16, 17, 18))
    config = CONFIG.model_copy(update={"kind": "vllm", "policy": policy})
    with RolloutPool(base, section(engine=config)) as pool:
        same(pool.generate(prompts, 1, greedy, version=0), local(base).generate(prompts, 1, greedy))
        for version, adapter in enumerate(adapters, start=1):
            folder = tmp_path / f"v{version}"
            shutil.copytree(adapter, folder)
            pool.sync(folder, version)
            engine = local(base, adapter, version)
            shutil.rmtree(folder)  # every actor has loaded it
            rollouts = pool.generate(prompts, 1, greedy, version)
            same(rollouts, engine.generate(prompts, 1, greedy))
            assert {r.policy_version for r in rollouts} == {version}

            rollouts = pool.generate(prompts, 4, sampled, version)
            assert [r.prompt_index for r in rollouts] == [0] * 4 + [1] * 4 + [2] * 4
            assert {r.finish.value for r in rollouts} == {"stop", "length"}
            assert all((r.token_ids[-1] in sampled.stop_ids) == (r.finish.value == "stop") for r in rollouts)
            ids = [r.token_ids.tolist() for r in rollouts]
            repeated = [prompts[r.prompt_index] for r in rollouts]
            for one, other, sampler in zip(
                engine.score(repeated, ids, 0.7),
                pool.begin_score(repeated, ids, 0.7)()[0],
                rollouts,
                strict=True,
            ):
                np.testing.assert_allclose(other, one, atol=1e-4)
                np.testing.assert_allclose(sampler.logprobs, one, atol=1e-4)
        with pytest.raises(RolloutDataError, match="needs"):  # another width would kill vLLM
            pool.generate([torch.zeros(2, 7)], 1, greedy, version=2)
        again = pool.generate(prompts, 4, sampled, version=2)
        same(again, pool.generate(prompts, 4, sampled, version=2))  # a seed fixes it; the engine is alive
