"""The ways in which a policy is sampled from: each engine's tokens a second, its start and its syncs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, Side
from benchmarks.rollout import synced
from benchmarks.setting import Setting
from reverse_codi.rollout.base import Sampling
from reverse_codi.rollout.pool import RolloutPool

SAMPLES, NEW_TOKENS, SYNCS = 16, 24, 3
WAYS: Mapping[str, dict[str, Any]] = {
    "vLLM, merged": {"policy": "merged"},
    "vLLM, merged, eager": {"policy": "merged", "enforce_eager": True},
    "vLLM, LoRA": {"policy": "lora"},
    "transformers": {"kind": "transformers", "max_sequences": 1024},
}
"""On a CPU vLLM is always eager."""


@contextmanager
def engines(at: Setting, work: Path) -> Iterator[Row]:
    """One pool each, all on one device at once and asked in turns; the thoughts' texts never end."""
    prompts = at.policy.prompt_embeds(at.vectors)
    tokens = float(len(prompts) * SAMPLES * NEW_TOKENS)
    params = Sampling(max_new_tokens=NEW_TOKENS)
    chosen = {name: keys for name, keys in WAYS.items() if at.device == "cuda" or "enforce_eager" not in keys}
    with ExitStack() as stack:
        pools = {}
        for name, keys in chosen.items():
            began = time.perf_counter()
            pool = pools[name] = stack.enter_context(RolloutPool(at.base, at.rollout(**keys)))
            start = time.perf_counter() - began
            began = time.perf_counter()
            for version in range(1, SYNCS + 1):
                synced(at, pool, version, work / "policy")
            sync = (time.perf_counter() - began) / SYNCS
            print(f"{name}: starts in {start:.1f} s, a sync takes {sync:.2f} s")

        def side(pool: RolloutPool) -> Callable[[], float]:
            def run() -> float:
                assert sum(len(r.token_ids) for r in pool.generate(prompts, SAMPLES, params, SYNCS)) == tokens
                return tokens

            return run

        yield Row("engines", "tokens/s", [Side(name, side(pool)) for name, pool in pools.items()])
