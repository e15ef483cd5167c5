"""What the actors of a run hold, by parts, from sizes alone; constants as in `plan_trainer`."""

from __future__ import annotations

from typing import Any

import torch

from reverse_codi.processes.memory import GIB, MIB
from reverse_codi.reading.reader import CHUNK
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.reinforce import SearchSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.scoring import KEPT_BYTES
from reverse_codi.training.holding import Holding
from reverse_codi.training.model_sizes import ModelSizes
from reverse_codi.training.plan_trainer import ADAM, ASKED_ROWS, features, maps, reading_pass
from reverse_codi.training.runtime import AsksForActor, own_reward_configs, readings_of_a_text

# Python with its libraries in an engine's actor, on Linux with a CPU build of torch.
ENGINE_LIBRARIES, VLLM_LIBRARIES = 520 * MIB, 850 * MIB
# A scorer's with the heaps of its threads: of 1.58 GiB that one took with the embedded model.
REWARD_LIBRARIES = 1000 * MIB
# What vLLM on a CPU holds beside float32 weights once it has loaded and synced GPT-2, as a share of them.
# Beside Llama-1B's in bfloat16 it held neither that nor a packed copy of the head.
ENGINE_HEAP = 0.5


def actors(recipe: Recipe, sizes: ModelSizes) -> list[Holding]:
    """Engines, scorers, and rewards with actors of their own."""
    rollout, reward = recipe.rollout, recipe.reward
    held = []
    if any(stage.kind != "distil" for stage in recipe.stages):
        engine = rollout.engine
        held.append(
            Holding(
                "rollout", "", rollout.actors, engine.device == "cuda", rollout.gpus,
                sampling(recipe, sizes), mapped_by_engine(recipe, sizes), _engine_key(recipe),
            )
        )  # fmt: skip
        gpus = reward.gpus_per_actor
        mapped = 0.0 if gpus else float(sizes.weights)
        held.append(
            Holding(
                "reward", "", reward.actors, gpus > 0, gpus, scoring(recipe, sizes), mapped, "reward.actors"
            )
        )
    return [*held, *(_own(name, config, sizes) for name, config in own_reward_configs(reward).items())]


def sampling(recipe: Recipe, sizes: ModelSizes) -> dict[str, float]:
    """One engine: vLLM with its cache, or transformers."""
    engine = recipe.rollout.engine
    item = int(getattr(torch, engine.dtype).itemsize)
    weights, changed = sizes.n_parameters * item, sizes.n_targeted * item
    logits = 3.0 * sizes.logits(engine.max_sequences)
    if engine.kind == "transformers":
        tokens = engine.max_sequences * min(engine.max_model_len, recipe.grpo.max_new_tokens + 8)
        return {
            "libraries": ENGINE_LIBRARIES,
            "weights": float(sizes.weights),
            "merged": float(2 * changed if engine.device == "cpu" else changed),  # this policy, and the next
            "kv cache": 2.0 * sizes.kv(tokens, item),
            "logits": 3.0 * logits,  # sampling sums probabilities in float64
        }
    if engine.device == "cuda":
        share = gpu_memory() * engine.gpu_memory_utilization
        return {"libraries": VLLM_LIBRARIES, "weights": float(weights), "kv cache": max(0.0, share - weights)}
    # A packed copy of the head, beside the embedding.
    beside = sizes.n_vocab * sizes.width * item + ENGINE_HEAP * weights if item == 4 else 0.0
    return {
        "libraries": VLLM_LIBRARIES,
        "weights": float(weights + mapped_by_engine(recipe, sizes)),
        "merged": float(beside + changed / sizes.n_layers * 4),
        "kv cache": float(engine.kv_cache_mib * MIB),
        "logits": logits,
    }


def mapped_by_engine(recipe: Recipe, sizes: ModelSizes) -> float:
    """Bytes of the base's file that an engine reads when it merges an adapter."""
    engine = recipe.rollout.engine
    if engine.policy == "lora" and engine.kind == "vllm":
        return 0.0
    if engine.device == "cuda":
        return 0.0  # on the machine, not on the GPU that is counted
    return float(sizes.weights if engine.kind == "transformers" else sizes.n_targeted * sizes.itemsize)


def scoring(recipe: Recipe, sizes: ModelSizes) -> dict[str, float]:
    """One scorer: the frozen model, the maps, and the states of the texts that it has read."""
    texts = max((stage_texts(recipe, stage.section) for stage in recipe.stages), default=0)
    share = -(-texts // recipe.reward.actors)
    read = 4.0 * features(recipe, sizes) * share
    compared = 6 * 4.0 * share * recipe.grpo.distractors * sizes.width
    rows, on_gpu = min(share * readings_of_a_text(recipe.reward), CHUNK), recipe.reward.gpus_per_actor > 0
    return {
        "libraries": REWARD_LIBRARIES,
        "weights": float(sizes.weights),
        "maps": float(maps(recipe, sizes)),
        "activations": reading_pass(recipe, sizes, rows, on_gpu),
        # Copies while rows are shared out and put together, what is kept of earlier steps, and distractors.
        "features": 4 * read + min(KEPT_BYTES, 4 * read) + compared,
    }


def stage_texts(recipe: Recipe, section: Any) -> int:
    """Texts that are scored at once in a stage."""
    if isinstance(section, GrpoSection):
        return section.thoughts_per_step * section.samples * section.steps_per_generation
    return 4096 if isinstance(section, SearchSection) else 0


def _own(name: str, config: AsksForActor, sizes: ModelSizes) -> Holding:
    """A reward's own actor that trains a copy of the model in float32 (`reading.reconstructor`)."""
    parts = {
        "libraries": float(REWARD_LIBRARIES),
        "weights": float(sizes.weights),
        "lora": float((ADAM + 4) * sizes.n_parameters),
        "activations": float(sizes.kept * ASKED_ROWS),
    }
    return Holding(name, "", 1, config.gpus > 0, config.gpus, parts, 0.0, f"reward {name}")


def _engine_key(recipe: Recipe) -> str:
    engine = recipe.rollout.engine
    if engine.kind == "transformers":
        return "rollout.engine.max_sequences"
    gpu = engine.device == "cuda"
    return "rollout.engine.gpu_memory_utilization" if gpu else "rollout.engine.kv_cache_mib"


def gpu_memory() -> float:
    """Bytes of this machine's first GPU; those of one with 80 GiB where there is none."""
    if torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory)
    return 80 * GIB
