"""Sampling with vLLM, in the calling process, from prompt embeddings.

tests/contract/test_vllm_contract.py pins the behaviour of vLLM 0.31 that this module relies on.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverse_codi.recipe.rollout import EngineConfig
from reverse_codi.rollout.adapter_config import adapter_config
from reverse_codi.rollout.base import (
    BASE_VERSION,
    EngineBrokenError,
    Finish,
    Rollout,
    Sampling,
    check_completions,
    check_request,
    checked,
)
from reverse_codi.rollout.merging import Base


def prepare_environment() -> None:
    """Set what vLLM reads from the environment, before it is imported; no other place does."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # else it forks its own engine beside the actor
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = (
        "nobind"  # otherwise several actors are pinned to the same cores
    )
    # Without a tokenizer it warns at every start that no chat template can be warmed up.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")


class VllmEngine:
    """vLLM without a tokenizer: embeddings in, token ids out.

    Prompts are always embeddings. Without a tokenizer vLLM 0.31 does not check token ids, and an id beyond
    the vocabulary makes it spin for ever. Prefix caching is off, because prompts are a few tokens and a cache
    could outlive the policy that filled it.

    Args:
        base: folder of the language model; other files in it (a reasoner's projection) are left alone.
        config: dtype, device, sizes, and how policies are applied.
    """

    def __init__(self, base: str | Path, config: EngineConfig) -> None:
        prepare_environment()
        from vllm import LLM

        self.base = base
        self.config = config
        self.dtype: torch.dtype = getattr(torch, config.dtype)
        self._version = BASE_VERSION
        self._loads = 0  # names LoRA requests: vLLM has served a repeated name from a stale cache
        self._lora: Any = None
        device: dict[str, Any] = {
            "gpu_memory_utilization": config.gpu_memory_utilization,
            "enforce_eager": config.enforce_eager,
        }
        if config.device == "cpu":
            device = {"enforce_eager": True, "kv_cache_memory_bytes": config.kv_cache_mib << 20}
        lora: dict[str, Any] = {}
        if config.policy == "lora":
            lora = {
                "enable_lora": True,
                "max_loras": 1,
                "max_lora_rank": config.max_lora_rank,
                "lora_target_modules": list(config.lora_targets),
            }
        with tempfile.TemporaryDirectory() as folder:
            self._llm = LLM(
                language_model_only(base, folder),
                enable_prompt_embeds=True,
                skip_tokenizer_init=True,
                generation_config="vllm",
                logprobs_mode="processed_logprobs",
                dtype=config.dtype,
                max_model_len=config.max_model_len,
                max_num_seqs=config.max_sequences,
                enable_prefix_caching=False,
                distributed_executor_backend="uni",
                disable_log_stats=True,
                **device,
                **lora,
            )
        self._width = self._llm.llm_engine.model_config.get_hidden_size()
        self._n_vocab = self._llm.llm_engine.model_config.get_vocab_size()

    @property
    def policy_version(self) -> int:
        """The adapter in use."""
        return self._version

    def load_policy(self, adapter: str | Path, version: int) -> None:
        """Apply the adapter of a folder, as `config.policy` says.

        A merged policy reloads only what this adapter, or the one before, changes.
        """
        if self.config.policy != "lora":
            changes = self._merging.changes(adapter)
            self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": changes})
        else:
            self._load_lora(adapter, version)
        self._version = version

    @functools.cached_property
    def _merging(self) -> Base:
        """The base, from the first sync on."""
        return Base(self.base, self.dtype)

    def _load_lora(self, adapter: str | Path, version: int) -> None:
        from vllm.lora.request import LoRARequest

        config = adapter_config(adapter)
        targets = config["target_modules"]
        unknown = set(targets) - set(self.config.lora_targets) if isinstance(targets, list) else {targets}
        if unknown:  # vLLM would leave them out silently
            raise ValueError(
                f"{adapter} targets {sorted(unknown)}, which engine.lora_targets does not list; add them, or "
                "use engine.policy merged"
            )
        if config["r"] > self.config.max_lora_rank:
            raise ValueError(
                f"{adapter} has rank {config['r']}, max_lora_rank is {self.config.max_lora_rank}; raise that"
            )
        if self._lora is not None:
            self._llm.llm_engine.remove_lora(self._lora.lora_int_id)
        self._loads += 1
        self._lora = LoRARequest(f"policy-{version}-{self._loads}", self._loads, str(Path(adapter).resolve()))
        self._llm.llm_engine.add_lora(self._lora)  # reads the files now, so that the folder may be deleted

    def generate(self, prompts: Sequence[Tensor], n: int, params: Sampling, first: int = 0) -> list[Rollout]:
        """Sample `n` texts a prompt, one request each; see `Engine.generate`."""
        from vllm import SamplingParams

        check_request(prompts, self._width, n, params, self.config.max_model_len, first)
        each = [
            SamplingParams(
                n=n,
                max_tokens=params.max_new_tokens,
                temperature=params.temperature,
                top_p=params.top_p,
                top_k=params.top_k,
                seed=params.prompt_seed(first + i),
                stop_token_ids=list(params.stop_ids),
                ignore_eos=True,  # only stop_ids end a rollout
                logprobs=0,
                flat_logprobs=True,  # arrays instead of one dict a token
                detokenize=False,
            )
            for i in range(len(prompts))
        ]
        rollouts = [
            Rollout(
                prompt_index=first + i,
                token_ids=np.asarray(output.token_ids, dtype=np.int32),
                logprobs=np.asarray(output.logprobs.logprobs, dtype=np.float32),
                finish=Finish(output.finish_reason),
                policy_version=self._version,
            )
            for i, answer in enumerate(self._ask(prompts, each))
            for output in sorted(answer.outputs, key=lambda output: output.index)
        ]
        return checked(rollouts)

    def score(
        self, prompts: Sequence[Tensor], completions: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[NDArray[np.float32]]:
        """Log-probability of every completion token; see `Engine.score`.

        Each position is one request of one token, because vLLM 0.31 gives no prompt_logprobs for embeddings.
        """
        from vllm import SamplingParams

        check_completions(prompts, completions, self._n_vocab)
        longest = Sampling(max_new_tokens=max(map(len, completions), default=1), temperature=temperature)
        check_request(prompts, self._width, 1, longest, self.config.max_model_len)
        heads: list[Tensor] = []
        each = []
        for prompt, ids in zip(prompts, completions, strict=True):
            tokens = self._embedded(ids)
            whole = torch.cat([prompt.detach().to(tokens), tokens])
            for place, token in enumerate(ids):
                heads.append(whole[: len(prompt) + place])
                each.append(
                    SamplingParams(
                        max_tokens=1,
                        temperature=temperature,
                        seed=0,
                        logprobs=1,  # must equal len(logprob_token_ids)
                        logprob_token_ids=[int(token)],
                        ignore_eos=True,
                        detokenize=False,
                    )
                )
        answers = iter(self._ask(heads, each))
        return [
            np.asarray([next(answers).outputs[0].logprobs[0][int(t)].logprob for t in ids], dtype=np.float32)
            for ids in completions
        ]

    def _embedded(self, ids: Sequence[int]) -> Tensor:
        """Token ids [T] to the engine's own input embeddings [T, d], on CPU."""

        def lookup(model: Any) -> Tensor:
            embedded: Tensor = model.embed_input_ids(torch.as_tensor(list(ids), device=self.config.device))
            return embedded.detach().cpu()

        embeds: list[Tensor] = self._llm.apply_model(lookup)
        return embeds[0]

    def _ask(self, prompts: Sequence[Tensor], params: list[Any]) -> list[Any]:
        if not prompts:
            return []
        requests: list[Any] = [
            {"prompt_embeds": prompt.detach().to("cpu", self.dtype).contiguous()} for prompt in prompts
        ]
        # An exception leaves its requests in vLLM's scheduler, and the next call spins on them.
        try:
            answers: list[Any] = self._llm.generate(requests, params, use_tqdm=False, lora_request=self._lora)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise EngineBrokenError(f"vLLM failed on {len(prompts)} prompts: {what}") from error
        return answers

    def close(self) -> None:
        """Stop the engine."""
        self._llm.llm_engine.engine_core.shutdown()


def language_model_only(base: str | Path, folder: str | Path) -> str:
    """Link a model's configuration and weights into an empty folder.

    vLLM loads every *.safetensors file that it finds, and a reasoner's folder also holds its projection.

    Raises:
        FileNotFoundError: no config.json or no model*.safetensors.
    """
    source = Path(base).resolve()
    weights = [*source.glob("model*.safetensors"), *source.glob("model*.safetensors.index.json")]
    if not weights or not (source / "config.json").is_file():
        raise FileNotFoundError(
            f"{source} holds no language model: it needs config.json and model*.safetensors"
        )
    for file in [source / "config.json", *weights]:
        (Path(folder) / file.name).symlink_to(file)
    return str(folder)
