"""The actors that sample texts, and the engines that they hold."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from reverse_codi.recipe.lora import LINEAR_LAYERS
from reverse_codi.utils.config import Section


class EngineConfig(Section):
    """One sampling engine."""

    kind: Literal["vllm", "transformers"] = "vllm"
    """vllm or transformers. On a CPU thread small models are twice as fast with transformers: 21,000 against
    9,600 tokens/s with 0.8M parameters (256 sequences of 24 tokens), 256 against 121 to 138 with 135M."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of weights and activations."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the engine."""
    policy: Literal["auto", "merged", "lora"] = "auto"
    """Only vLLM. merged adds adapters into the weights. lora applies them beside the weights, which on CPU is
    6 to 11 times slower (1,300 against 7,500 tokens/s at 64 sequences, 900 against 9,600 at 256). auto
    decides once, by what a sync costs, and logs why: merged on CPU; on GPU lora where 4 GiB of weights or
    more would be sent."""
    max_model_len: int = Field(default=256, gt=0)
    """Largest number of tokens of prompt and text together."""
    max_sequences: int = Field(default=256, gt=0)
    """Sequences that are computed at once."""
    kv_cache_mib: int = Field(default=256, gt=0)
    """Only vLLM on CPU: memory of its key-value cache, in MiB."""
    gpu_memory_utilization: float = Field(default=0.4, gt=0, le=1)
    """Only vLLM on GPU: share of the GPU's memory that it takes."""
    enforce_eager: bool = False
    """Only vLLM on GPU: neither compile the model nor record CUDA graphs, which takes time at every start.
    What sampling loses by it has not been measured."""
    max_lora_rank: int = Field(default=64, gt=0)
    """Only vLLM with policy lora: largest rank of an adapter."""
    lora_targets: tuple[str, ...] = LINEAR_LAYERS
    """Only vLLM with policy lora: layers that adapters may target. Never the embedding: vLLM 0.31 crashes on
    CPU when prompt embeddings meet an embedding with a LoRA."""

    @property
    def takes_lora(self) -> bool:
        """Whether vLLM 0.31 can apply a LoRA: on a GPU its kernels refuse float32."""
        return self.device == "cpu" or self.dtype != "float32"

    @model_validator(mode="after")
    def _lora_in_half_precision(self) -> Self:
        if self.kind == "vllm" and self.policy == "lora" and not self.takes_lora:
            raise ValueError(
                "policy lora with dtype float32 on a GPU: vLLM's LoRA computes in half precision there; set "
                "dtype: bfloat16, or policy: merged"
            )
        return self


class RolloutSection(Section):
    """The actors that sample texts."""

    engine: EngineConfig = EngineConfig()
    """The engine of each actor."""
    actors: int = Field(default=1, ge=1)
    """Number of actors."""
    cpus: float = Field(default=1, gt=0)
    """CPUs of each actor; rounded down, at least 1, they are its threads."""
    gpus: float = Field(default=0, ge=0)
    """GPUs of each actor."""
    start_timeout_s: float = Field(default=300, gt=0)
    """Seconds that actors may take to be placed and to load the model."""
    timeout_s: float = Field(default=600, gt=0)
    """Seconds that one request may take. An actor that takes longer is killed and replaced, and asked once
    more."""
    max_restarts: int = Field(default=3, ge=0)
    """How many dead or silent actors the pool replaces, with no request answered in between, before it gives
    up."""
