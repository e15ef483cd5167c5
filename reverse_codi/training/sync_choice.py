"""How policies reach vLLM: merged into its weights, or as a LoRA beside them; `policy: auto` decides here.

merged sends all weights that have an adapter at every sync, and sampling is as fast as the base's. lora sends
the adapter alone, and every token is slower.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import torch

from reverse_codi.processes.memory import GIB
from reverse_codi.recipe.rollout import RolloutSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training.model_sizes import ModelSizes

log = logging.getLogger(__name__)

# Weights from which a sync of merged ones is taken to cost more than sampling with a LoRA on a GPU: GPT-2's
# and Llama-1B's are below in bfloat16, those of 3B and more above. Not measured.
LORA_FROM = 4 * GIB
# Parameters up to which transformers is taken to sample faster on a CPU. On one thread it is twice as fast as
# vLLM with one million (`scripts/bench rollout`), and with 135 million (`--size 135m`: 256 tokens/s against
# 121 to 138). Not measured above.
FEW_PARAMETERS = 150_000_000


@dataclass(frozen=True)
class Choice:
    """How policies are applied, and why."""

    policy: Literal["merged", "lora"]
    why: str


def choice(recipe: Recipe, sizes: ModelSizes) -> Choice:
    """What `rollout.engine.policy: auto` means for a recipe and its reasoner.

    >>> from reverse_codi.recipe.schema import Recipe
    >>> choice(Recipe(), ModelSizes.of(Recipe())).policy
    'merged'
    """
    engine, lora = recipe.rollout.engine, recipe.verbalizer
    sent = sizes.n_targeted * int(getattr(torch, engine.dtype).itemsize)
    each = f"a sync sends {sent / GIB:.2f} GiB merged, {4 * sizes.n_lora / GIB:.2f} as a LoRA"
    if engine.device == "cpu":
        return Choice("merged", f"{each}, but on a CPU a LoRA makes sampling 6 to 11 times slower")
    if not engine.takes_lora:
        return Choice("merged", "vLLM's LoRA on a GPU computes in half precision only")
    if not sizes.takes_lora:
        return Choice("merged", "vLLM applies no LoRA to this architecture")
    if lora.rank > engine.max_lora_rank or set(lora.target_modules) - set(engine.lora_targets):
        return Choice("merged", "rollout.engine.max_lora_rank or lora_targets leaves out this LoRA")
    return Choice("lora" if sent >= LORA_FROM else "merged", each)


def vllm_is_slow(rollout: RolloutSection, sizes: ModelSizes | None) -> bool:
    """Whether transformers would sample faster than the engine of a recipe."""
    engine = rollout.engine
    few = sizes is not None and sizes.n_parameters <= FEW_PARAMETERS
    return few and engine.kind == "vllm" and engine.device == "cpu"


def settled(recipe: Recipe, sizes: ModelSizes | None) -> RolloutSection:
    """The rollout section with `auto` decided and logged; merged where nothing is known of the model."""
    rollout = recipe.rollout
    if vllm_is_slow(rollout, sizes):
        log.info("rollout.engine.kind: transformers samples faster than vLLM from so small a model on a CPU")
    if rollout.engine.kind != "vllm" or rollout.engine.policy != "auto":
        return rollout
    chosen = Choice("merged", "the model's size is unknown") if sizes is None else choice(recipe, sizes)
    log.info(f"rollout.engine.policy: {chosen.policy} ({chosen.why})")
    engine = rollout.engine.model_copy(update={"policy": chosen.policy})
    return rollout.model_copy(update={"engine": engine})
