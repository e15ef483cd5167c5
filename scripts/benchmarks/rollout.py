"""Sampling: tokens a second through the Ray pool, against bare engines on the same prompts; and a sync."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Row, Side
from benchmarks.setting import Setting
from reverse_codi.recipe.rollout import EngineConfig
from reverse_codi.rollout.base import Sampling
from reverse_codi.rollout.merging import Base
from reverse_codi.rollout.pool import RolloutPool
from reverse_codi.rollout.vllm_engine import language_model_only, prepare_environment

NEW_TOKENS = 24
OURS = "ours: Ray pool, vLLM, embeddings, policy merged"
OUR_TRANSFORMERS = "ours: Ray pool, transformers, embeddings, policy merged"
# What our pool returns is asked of vLLM too.
SAME = "vLLM, embeddings, policy merged, log-probabilities"
TRANSFORMERS = "transformers generate, embeddings, policy merged"


@contextmanager
def rollout(at: Setting, work: Path, samples: int = 16) -> Iterator[Row]:
    """Every side writes NEW_TOKENS tokens for each text; none stops earlier, so the work is the same."""
    prompts = at.policy.prompt_embeds(at.vectors)
    section = at.rollout(policy="merged")
    engine = section.engine
    params = Sampling(max_new_tokens=NEW_TOKENS)
    tokens = float(len(prompts) * samples * NEW_TOKENS)
    merged = _merged(at, work / "merged")
    with ExitStack() as stack:
        pool = stack.enter_context(RolloutPool(at.base, section))
        slow = stack.enter_context(RolloutPool(at.base, at.rollout(kind="transformers")))
        for each in (pool, slow):
            each.sync(at.adapter, 1)
        plain = _vllm(merged, engine, work / "plain")

        def ours(pool: RolloutPool) -> float:
            assert sum(len(r.token_ids) for r in pool.generate(prompts, samples, params, 1)) == tokens
            return tokens

        def bare(llm: Any, requests: list[Any], logprobs: int | None = None, **more: Any) -> float:
            answers = llm.generate(requests, _params(samples, logprobs), use_tqdm=False, **more)
            assert sum(len(o.token_ids) for answer in answers for o in answer.outputs) == tokens
            return tokens

        model = Base(at.base, at.reasoner.lm.dtype).merged(at.adapter).to(at.device)
        embeds = [{"prompt_embeds": prompt.to("cpu", model.dtype).contiguous()} for prompt in prompts]
        stacked = torch.stack(prompts).to(model.device, model.dtype)
        ids = [{"prompt_token_ids": [1] * len(prompt)} for prompt in prompts]

        @torch.inference_mode()
        def transformers() -> float:
            model.generate(
                inputs_embeds=stacked,
                attention_mask=torch.ones(stacked.shape[:2], dtype=torch.long, device=model.device),
                do_sample=True,
                num_return_sequences=samples,
                min_new_tokens=NEW_TOKENS,
                max_new_tokens=NEW_TOKENS,
                pad_token_id=0,
            )
            return tokens

        sides = [
            Side(OURS, lambda: ours(pool)),
            Side(SAME, lambda: bare(plain, embeds, logprobs=0)),
            Side("vLLM, embeddings, policy merged", lambda: bare(plain, embeds)),
            Side("vLLM, token ids, policy merged", lambda: bare(plain, ids)),
            Side(OUR_TRANSFORMERS, lambda: ours(slow)),
            Side(TRANSFORMERS, transformers),
        ]
        if at.size == "1m" or at.device == "cuda":  # minutes a turn else
            lora, request = _vllm(at.base, engine, work / "lora", lora=True), _lora_request(at.adapter)
            more = {"lora_request": request}
            sides.append(Side("vLLM, embeddings, policy as LoRA", lambda: bare(lora, embeds, **more)))
        yield Row(
            "rollout",
            "tokens/s",
            sides,
            {
                "rollout.vs_vllm": (OURS, SAME),
                "rollout.vs_transformers": (OURS, TRANSFORMERS),
                "rollout.own_transformers_vs_transformers": (OUR_TRANSFORMERS, TRANSFORMERS),
            },
        )


@contextmanager
def sync(at: Setting, work: Path) -> Iterator[Row]:
    """From the trainer's weights to the first token of the policy; against loading all weights anew."""
    section = at.rollout(policy="merged")
    first = Sampling(max_new_tokens=1)
    prompts = at.policy.prompt_embeds(at.vectors[:1])
    versions = iter(range(1, 1000))
    with RolloutPool(at.base, section) as pool:

        def ours() -> None:
            version = next(versions)
            synced(at, pool, version, work / "policy")
            pool.generate(prompts, 1, first, version)

        def whole() -> None:
            with RolloutPool(_merged(at, work / "whole"), section) as fresh:
                fresh.generate(prompts, 1, first, 0)

        yield Row(
            "sync",
            "s",
            [Side("ours: what changed", ours), Side("a new engine with merged weights", whole)],
            {"sync.vs_reload": ("ours: what changed", "a new engine with merged weights")},
            {"sync.seconds": "ours: what changed"},
        )


def synced(at: Setting, pool: RolloutPool, version: int, folder: Path) -> None:
    """Bring the policy's weights to the actors, by way of a folder."""
    at.policy.save(folder)
    pool.sync(folder, version)
    shutil.rmtree(folder)


def _merged(at: Setting, folder: Path) -> Path:
    """The base with the adapter added in, as a folder."""
    if not folder.is_dir():
        Base(at.base, at.reasoner.lm.dtype).merged(at.adapter).save_pretrained(folder)
    return folder


def _vllm(base: Path, config: EngineConfig, folder: Path, lora: bool = False) -> Any:
    """VLLM as a user would start it for this, with the same lengths and cache."""
    prepare_environment()
    from vllm import LLM

    more: dict[str, Any] = {}
    if lora:
        more = {"enable_lora": True, "max_loras": 1, "max_lora_rank": 64}
    if config.device == "cpu":
        more |= {"enforce_eager": True, "kv_cache_memory_bytes": config.kv_cache_mib << 20}
    else:
        more |= {"gpu_memory_utilization": config.gpu_memory_utilization}
    folder.mkdir(parents=True)
    return LLM(
        language_model_only(base, folder),
        enable_prompt_embeds=True,
        skip_tokenizer_init=True,
        dtype=config.dtype,
        max_model_len=config.max_model_len,
        max_num_seqs=config.max_sequences,
        enable_prefix_caching=False,
        disable_log_stats=True,
        **more,
    )


def _params(samples: int, logprobs: int | None) -> Any:
    from vllm import SamplingParams

    return SamplingParams(
        n=samples,
        min_tokens=NEW_TOKENS,
        max_tokens=NEW_TOKENS,
        ignore_eos=True,
        detokenize=False,
        seed=0,
        logprobs=logprobs,
    )


def _lora_request(adapter: Path) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest("policy", 1, str(adapter.resolve()))
