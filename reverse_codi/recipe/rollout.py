"""Actors that write texts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reverse_codi.recipe.lora import LINEAR_LAYERS
from reverse_codi.utils.config import Section


class EngineConfig(Section):
    """One engine."""

    kind: Literal["vllm", "transformers"] = "vllm"
    """vllm or transformers. On one CPU thread a 0.8M model is faster with transformers (256
    sequences of 24 tokens: 21,000 against 9,600 tokens/s), a 135M model with vLLM (field notes)."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of weights and activations."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it runs."""
    policy: Literal["merged", "lora"] = "merged"
    """vLLM only. merged: adapters are added into the weights; lora: applied beside them, which on CPU is 6 to
    11 times slower (measured: 7,500 against 1,300 tokens/s at 64 sequences, 9,600 against 900 at 256)."""
    max_model_len: int = Field(default=256, gt=0)
    """Most tokens of prompt and text together."""
    max_sequences: int = Field(default=256, gt=0)
    """Sequences computed at once."""
    kv_cache_mib: int = Field(default=256, gt=0)
    """vLLM on CPU only: memory of its cache, in MiB."""
    gpu_memory_utilization: float = Field(default=0.4, gt=0, le=1)
    """vLLM on GPU only: share of the memory that it takes."""
    max_lora_rank: int = Field(default=64, gt=0)
    """vLLM with policy lora only."""
    lora_targets: tuple[str, ...] = LINEAR_LAYERS
    """vLLM with policy lora only: what adapters may target. Never the embedding: vLLM 0.31 dies on CPU when
    prompt embeddings meet a LoRA-wrapped embedding."""


class RolloutSection(Section):
    """Rollout actors."""

    engine: EngineConfig = EngineConfig()
    """What each actor runs."""
    actors: int = Field(default=1, ge=1)
    """How many."""
    cpus: float = Field(default=1, gt=0)
    """CPUs an actor; its thread count, rounded down, at least 1."""
    gpus: float = Field(default=0, ge=0)
    """GPUs an actor."""
    start_timeout_s: float = Field(default=300, gt=0)
    """Seconds for actors to be placed and load the model."""
    timeout_s: float = Field(default=600, gt=0)
    """Seconds for one request."""
    max_restarts: int = Field(default=3, ge=0)
    """Dead actors replaced in the pool's life before it gives up."""
