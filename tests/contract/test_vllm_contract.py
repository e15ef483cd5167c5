"""What the design leans on in vLLM 0.31, each pinned alone; an upgrade that breaks one names it.

The engine lives in a Ray actor, as in production: vLLM in pytest's own process would leave its thread
settings and process group to every later test.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from torch import Tensor

from reverse_codi.recipe.lora import LINEAR_LAYERS
from tests.policies import greedy, load_base, logprobs_of, make_prompts, save_adapter, save_base

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]

Ask = Callable[..., Any]


class Host:
    """Runs functions of (llm, folder, ...) where the engine is."""

    def __init__(self, folder: Path) -> None:
        from reverse_codi.rollout.vllm_engine import language_model_only, prepare_environment

        prepare_environment()
        torch.set_num_threads(1)
        from transformers import AutoTokenizer
        from vllm import LLM

        served = folder / "served"
        served.mkdir()
        AutoTokenizer.from_pretrained(folder / "base").save_pretrained(served)
        self.llm = LLM(
            language_model_only(folder / "base", served),
            enable_prompt_embeds=True,
            enable_lora=True,
            max_lora_rank=8,
            lora_target_modules=list(LINEAR_LAYERS),
            logprobs_mode="processed_logprobs",
            dtype="float32",
            max_model_len=64,
            max_num_seqs=32,
            enforce_eager=True,
            enable_prefix_caching=False,
            kv_cache_memory_bytes=64 << 20,
            distributed_executor_backend="uni",
            disable_log_stats=True,
        )

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(self.llm, *args)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vllm")
    save_base(root / "base")
    return root


@pytest.fixture(scope="module")
def ask(ray_session: None, folder: Path) -> Iterator[Ask]:
    host = (
        ray.remote(Host)
        .options(num_cpus=1, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}})
        .remote(folder)
    )
    yield lambda function, *args: ray.get(host.call.remote(function, *args), timeout=280)
    ray.kill(host)


def run(llm: Any, prompts: list[Any], lora: tuple[str, int, str] | None = None, **params: Any) -> list[Any]:
    """[(token ids, log-probabilities) of every sample] of every prompt."""
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest

    settings = {
        "max_tokens": 8,
        "logprobs": 0,
        "flat_logprobs": True,
        "detokenize": False,
        "ignore_eos": True,
    }
    outputs = llm.generate(
        [{"prompt_embeds": p} if isinstance(p, torch.Tensor) else {"prompt_token_ids": p} for p in prompts],
        SamplingParams(**{**settings, **params}),
        use_tqdm=False,
        lora_request=None if lora is None else LoRARequest(*lora),
    )
    return [[(list(s.token_ids), list(s.logprobs.logprobs)) for s in output.outputs] for output in outputs]


def test_heads_of_32_and_embeddings_give_the_text_of_ids(ask: Ask, folder: Path) -> None:
    model = load_base(folder / "base")
    ids = [3, 9, 17, 4]
    embeds = model.get_input_embeddings()(torch.tensor(ids)).detach()
    results = ask(lambda llm: run(llm, [ids, embeds], temperature=0))
    assert [samples[0][0] for samples in results] == [greedy(model, embeds, 8)] * 2


def check_against(model: Any, prompts: list[Tensor], results: list[Any], temperature: float = 1.0) -> None:
    for prompt, samples in zip(prompts, results, strict=True):
        for ids, logprobs in samples:
            np.testing.assert_allclose(logprobs, logprobs_of(model, prompt, ids, temperature), atol=1e-4)


def test_lora_beside_embeddings_is_transformers_with_peft(ask: Ask, folder: Path) -> None:
    policy = save_adapter(folder / "base", folder / "a1", seed=1)
    prompts = make_prompts([1, 3])
    results = ask(lambda llm: run(llm, prompts, ("a1", 1, str(folder / "a1")), temperature=0))
    assert [samples[0][0] for samples in results] == [greedy(policy, prompt, 8) for prompt in prompts]
    check_against(policy, prompts, results)


def test_a_new_version_changes_the_text_and_the_base_stays(ask: Ask, folder: Path) -> None:
    prompts = make_prompts([2])
    texts = []
    for version in (2, 3):
        policy = save_adapter(folder / "base", folder / f"a{version}", seed=version)
        lora = (f"a{version}", version, str(folder / f"a{version}"))
        ((sample,),) = ask(lambda llm, lora: run(llm, prompts, lora, temperature=0), lora)
        assert sample[0] == greedy(policy, prompts[0], 8)
        texts.append(sample[0])
    assert texts[0] != texts[1]
    ((base,),) = ask(lambda llm: run(llm, prompts, temperature=0))
    assert base[0] == greedy(load_base(folder / "base"), prompts[0], 8)


def test_a_loaded_adapter_outlives_its_folder(ask: Ask, folder: Path) -> None:
    policy = save_adapter(folder / "base", folder / "gone", seed=4)
    prompts = make_prompts([2])

    def load_and_delete(llm: Any) -> Any:
        import shutil

        from vllm.lora.request import LoRARequest

        lora = ("gone", 4, str(folder / "gone"))
        llm.llm_engine.add_lora(LoRARequest(*lora))
        shutil.rmtree(folder / "gone")
        return run(llm, prompts, lora, temperature=0)

    assert ask(load_and_delete)[0][0][0] == greedy(policy, prompts[0], 8)


def test_one_request_gives_n_samples(ask: Ask) -> None:
    (samples,) = ask(lambda llm: run(llm, make_prompts([2]), n=6, seed=0))
    assert len(samples) == 6
    assert len({tuple(ids) for ids, _ in samples}) == 6


def test_a_seed_fixes_samples_and_two_requests_share_its_noise(ask: Ask) -> None:
    """So every prompt needs a seed of its own (`Sampling.prompt_seed`)."""
    (prompt,) = make_prompts([2])
    first, second = ask(lambda llm: run(llm, [prompt, prompt], n=3, seed=5))
    assert [ids for ids, _ in first] == [ids for ids, _ in second]


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.6])
def test_processed_logprobs_are_those_of_the_scaled_softmax(
    ask: Ask, folder: Path, temperature: float
) -> None:
    prompts = make_prompts([1, 4])
    results = ask(lambda llm: run(llm, prompts, n=3, seed=1, temperature=temperature))
    check_against(load_base(folder / "base"), prompts, results, temperature)


def test_stop_ids_end_a_text_and_stay_in_it(ask: Ask, folder: Path) -> None:
    (prompt,) = make_prompts([2])
    ids = greedy(load_base(folder / "base"), prompt, 8)
    stop = ids[3]

    def stopped(llm: Any) -> Any:
        from vllm import SamplingParams

        params = SamplingParams(
            temperature=0, max_tokens=8, stop_token_ids=[stop], ignore_eos=True, detokenize=False
        )
        output = llm.generate([{"prompt_embeds": prompt}], params, use_tqdm=False)[0].outputs[0]
        return list(output.token_ids), output.finish_reason

    assert ask(stopped) == (ids[: ids.index(stop) + 1], "stop")


def test_embeddings_get_no_prompt_logprobs(ask: Ask) -> None:
    """So the canary scores one token a request; fix `VllmEngine.score` when this fails."""

    def prompt_logprobs(llm: Any) -> Any:
        from vllm import SamplingParams

        params = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        return llm.generate([{"prompt_embeds": make_prompts([3])[0]}], params, use_tqdm=False)[
            0
        ].prompt_logprobs

    assert not any(ask(prompt_logprobs))


def test_the_logprob_of_a_given_token(ask: Ask, folder: Path) -> None:
    (prompt,) = make_prompts([3])

    def given(llm: Any) -> Any:
        from vllm import SamplingParams

        params = SamplingParams(
            max_tokens=1,
            temperature=0.5,
            logprobs=1,
            logprob_token_ids=[7],
            detokenize=False,
            ignore_eos=True,
        )
        return (
            llm.generate([{"prompt_embeds": prompt}], params, use_tqdm=False)[0]
            .outputs[0]
            .logprobs[0][7]
            .logprob
        )

    expected = logprobs_of(load_base(folder / "base"), prompt, [7], 0.5)
    assert ask(given) == pytest.approx(float(expected), abs=1e-4)


def test_ids_beyond_the_vocabulary_are_refused(ask: Ask, folder: Path) -> None:
    """A bank id can never reach vLLM as an id; a thought travels as an embedding."""
    n_vocab = load_base(folder / "base").config.vocab_size

    def refused(llm: Any) -> str:
        from vllm.exceptions import VLLMValidationError

        try:
            run(llm, [[3, n_vocab + 5]])
        except VLLMValidationError as error:
            return str(error)
        return ""

    assert "vocabulary" in ask(refused)
    assert ask(run, [[3, 4]])  # and the engine lives on


def test_which_architectures_take_a_lora(ask: Ask) -> None:
    """So `ModelSizes.takes_lora` leaves out GPT-2, whose policies are always merged."""

    def take(llm: Any) -> list[bool]:
        from vllm.model_executor.models.gpt2 import GPT2LMHeadModel
        from vllm.model_executor.models.interfaces import supports_lora
        from vllm.model_executor.models.llama import LlamaForCausalLM

        return [supports_lora(GPT2LMHeadModel), supports_lora(LlamaForCausalLM)]

    assert ask(take) == [False, True]


def test_reloading_what_an_adapter_changes(ask: Ask, folder: Path) -> None:
    """Last of all: it changes the engine's base. In-process, from tensors; what is not sent stays.

    q, k and v are one layer to vLLM, and half a layer would be half garbage: hence `Base.changes`.
    """
    policies = [
        save_adapter(folder / "base", folder / "merged-all", seed=9),
        save_adapter(folder / "base", folder / "merged-q", seed=10, targets=["q_proj"]),
    ]
    prompts = make_prompts([1, 2])

    def reload(llm: Any) -> Any:
        from reverse_codi.rollout.merging import Base

        base, results, sent = Base(folder / "base", torch.float32), [], []
        for adapter in ("merged-all", "merged-q", "merged-q"):
            weights = list(base.changes(folder / adapter))
            llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
            results.append(run(llm, prompts, temperature=0))
            sent.append({name for name, _ in weights})
        return results, sent

    (first, second, third), sent = ask(reload)
    for policy, results in zip([*policies, policies[1]], (first, second, third), strict=True):
        assert [samples[0][0] for samples in results] == [greedy(policy, prompt, 8) for prompt in prompts]
        check_against(policy, prompts, results)
    assert not any("embed" in name or "norm" in name for name in sent[0])
    assert sent[0] == sent[1] > sent[2]  # the second puts back what the first had changed
