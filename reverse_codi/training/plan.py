"""What each process of a training run will hold, from sizes alone.

Everything is in bytes until it is shown. Constants say where they were measured; figures of a GPU are
computed and have not been measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from reverse_codi.recipe.reading import Map, Point, Target
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.scoring import KEPT_BYTES
from reverse_codi.training.model_sizes import ModelSizes
from reverse_codi.training.runtime import AsksForActor, own_reward_configs
from reverse_codi.utils.memory import GIB

MIB = 1 << 20
# Python with its libraries before any model is loaded, on Linux with a CPU build of torch.
TRAINER_LIBRARIES, ENGINE_LIBRARIES, VLLM_LIBRARIES = 740 * MIB, 520 * MIB, 850 * MIB
# A scorer's with the heaps of its threads: of 1.58 GiB that one took with the embedded model.
REWARD_LIBRARIES = 1000 * MIB
# What vLLM on a CPU holds beside its weights once it has loaded and synced GPT-2, as a share of them.
ENGINE_HEAP = 0.5
# What a CUDA context takes of a GPU; not measured here.
CUDA_CONTEXT = 500 * MIB
# Copies of the logits at the height of a backward pass: themselves, scaled, their log-softmax, its gradient.
# Measured with GPT-2 (4.1) and the embedded model (4.4).
LOGIT_COPIES = 4.3
# What a pass takes over what autograd keeps (4 to 6 %, measured), where freed memory goes back at once.
PASSING_SHARE = 1.06
# What tensors take on a CPU's heap over their sizes, because what is freed is not always used again. A GRPO
# step of 2,048 texts of the embedded model took 1.8 times, one of GPT-2 1.5 times.
HEAP = 1.7
# Tokens of a question, and of an answer, where no one has counted: GSM8K's longest are 200 and 20.
QUESTION_TOKENS, ANSWER_TOKENS, WRITTEN_TOKENS = 64, 24, 64
# Rows of one forward pass of the frozen model (`CodiReasoner.batch_size`, `reading.reader.CHUNK`).
READ_ROWS = 512
# AdamW keeps a gradient and two moments for each weight, in float32.
ADAM = 4 * 4


@dataclass(frozen=True)
class Holding:
    """What one process holds at one time.

    Attributes:
        process: trainer, rollout, reward, or the name of a reward with an actor of its own.
        stage: of the trainer; "" for an actor, which holds the same in all.
        count: how many such processes there are.
        on_gpu: whether all but the libraries lies on a GPU.
        gpus: GPUs of each; for the trainer 1 where it uses one.
        parts: name -> bytes.
        mapped: of the part `weights`, bytes that are pages of a file, which processes on a machine share.
        key: the recipe's key that makes it smaller.
    """

    process: str
    stage: str
    count: int
    on_gpu: bool
    gpus: float
    parts: dict[str, float]
    mapped: float = 0.0
    key: str = ""

    @property
    def name(self) -> str:
        """Of its line."""
        return f"{self.process}: {self.stage}" if self.stage else self.process

    @property
    def host(self) -> float:
        """Bytes of the machine's memory."""
        return self.parts["libraries"] if self.on_gpu else sum(self.parts.values())

    @property
    def gpu(self) -> float:
        """Bytes of a GPU's memory."""
        held = sum(size for name, size in self.parts.items() if name != "libraries")
        return held + CUDA_CONTEXT if self.on_gpu else 0.0


@dataclass(frozen=True)
class Plan:
    """What a run's processes hold.

    Attributes:
        holdings: the trainer's stages, then each kind of actor.
    """

    holdings: list[Holding] = field(default_factory=list)

    @property
    def trainer(self) -> Holding:
        """The stage in which the trainer holds most, by what is scarcer: the GPU where it uses one."""
        stages = [holding for holding in self.holdings if holding.process == "trainer"]
        return max(stages, key=lambda holding: (holding.gpu, holding.host))

    @property
    def beside(self) -> list[Holding]:
        """What is there at one time: the trainer at its highest, and all actors."""
        return [self.trainer, *(holding for holding in self.holdings if holding.process != "trainer")]

    @property
    def host(self) -> float:
        """Bytes of one machine's memory that all take; pages of a file that they share count once."""
        shared = max((holding.mapped for holding in self.beside), default=0.0)
        return sum(h.count * (h.host - h.mapped) for h in self.beside) + shared

    @property
    def peaks(self) -> dict[str, float]:
        """GiB of the machine's memory by the names of `memory.jsonl`."""
        return {holding.name: round(holding.host / GIB, 3) for holding in self.holdings}


def plan(recipe: Recipe, sizes: ModelSizes) -> Plan:
    """What a run of a recipe will hold."""
    stages: list[tuple[str, Callable[[Recipe, ModelSizes], dict[str, float]], str]] = [
        ("traces", tracing, "trace.batch_size"),
        ("reading", fitting, "reading.traces"),
    ]
    if recipe.warm_start.steps:
        stages.append(("warm start", warming, "warm_start.batch_size"))
    stages += [
        (stage.name if recipe.reinforce else stage.kind, learning(stage.section), f"{stage.kind}.{key}")
        for stage in recipe.stages
        if (key := {"grpo": "thoughts_per_step", "distil": "batch_size"}.get(stage.kind))
    ]
    on_gpu = recipe.reasoner.device.startswith("cuda")
    mapped = 0.0 if on_gpu else float(sizes.weights)
    held = [
        Holding("trainer", name, 1, on_gpu, float(on_gpu), parts(recipe, sizes), mapped, key)
        for name, parts, key in stages
    ]
    return Plan([*held, *actors(recipe, sizes)] if recipe.stages else held)


# ---- the trainer, stage by stage


def tracing(recipe: Recipe, sizes: ModelSizes) -> dict[str, float]:
    """Thinking and answering, and writing steps where they are asked for."""
    rows = min(recipe.trace.batch_size, READ_ROWS)
    written = WRITTEN_TOKENS if recipe.needs_self_generated_cot else 0
    length = QUESTION_TOKENS + max(sizes.n_thoughts + ANSWER_TOKENS, written)
    vectors = 4 * (recipe.trace.n + recipe.trace.n_heldout) * (2 * sizes.n_thoughts + 1) * sizes.width
    return {
        "libraries": TRAINER_LIBRARIES,
        "weights": float(sizes.weights),
        "kv cache": float(sizes.kv(rows * length) * (1 + 1 / sizes.n_layers)),  # one layer is being extended
        "activations": float(sizes.passing(rows * QUESTION_TOKENS)),
        "logits": 2.0 * sizes.logits(rows),
        "features": min(vectors, GIB),
    }


def fitting(recipe: Recipe, sizes: ModelSizes) -> dict[str, float]:
    """Reading texts and fitting the maps."""
    texts = min(recipe.trace.n, recipe.reading.traces or recipe.trace.n)
    limit = getattr(recipe.reading, "memory_gib", None)
    return {
        "libraries": TRAINER_LIBRARIES,
        "weights": float(sizes.weights),
        "maps": float(maps(recipe, sizes)),
        "activations": reading_pass(recipe, sizes, READ_ROWS),
        "features": fitting_bytes(texts, features(recipe, sizes), limit),
    }


def warming(recipe: Recipe, sizes: ModelSizes) -> dict[str, float]:
    """Supervised fine-tuning."""
    return supervised(recipe, sizes, recipe.warm_start.batch_size)


def learning(section: Any) -> Callable[[Recipe, ModelSizes], dict[str, float]]:
    """One stage of reinforcement."""

    def parts(recipe: Recipe, sizes: ModelSizes) -> dict[str, float]:
        if hasattr(section, "samples"):
            rows, text = section.thoughts_per_step * section.samples, section.max_new_tokens
            return {**training_pass(recipe, sizes, rows, text), "maps": float(maps(recipe, sizes))}
        return supervised(recipe, sizes, section.batch_size)

    return parts


def supervised(recipe: Recipe, sizes: ModelSizes, rows: int) -> dict[str, float]:
    """Fine-tuning on texts, with the held-out evaluation within it."""
    held = training_pass(recipe, sizes, rows, recipe.grpo.max_new_tokens)
    evaluated = sizes.kv(recipe.grpo.eval_thoughts * recipe.grpo.max_new_tokens)
    return {**held, "maps": float(maps(recipe, sizes)), "kv cache": float(evaluated)}


def training_pass(recipe: Recipe, sizes: ModelSizes, rows: int, text: int) -> dict[str, float]:
    """Weights, LoRA with its optimizer, and one forward and backward pass."""
    slots = sizes.n_thoughts if recipe.reading.spec.target is Target.ANSWER else 1
    at_once = rows_at_once(recipe, sizes, rows, slots + text)
    heap = 1.0 if recipe.reasoner.device.startswith("cuda") else HEAP
    return {
        "libraries": TRAINER_LIBRARIES,
        "weights": float(sizes.weights),
        "lora": float(ADAM * sizes.n_lora),
        "activations": PASSING_SHARE * heap * at_once * (slots + text) * sizes.kept,
        "logits": LOGIT_COPIES * sizes.logits(at_once * text),
    }


def rows_at_once(recipe: Recipe, sizes: ModelSizes, rows: int, tokens: int) -> int:
    """Rows of one forward and backward pass out of a batch of `rows` texts of `tokens`."""
    return rows


def features(recipe: Recipe, sizes: ModelSizes) -> int:
    """F, the numbers that are read of a text."""
    spec = recipe.reading.spec
    points = 4 if spec.point is Point.NUMBERS else 1
    return points * len(spec.layer_indices(sizes.n_layers + 1)) * sizes.width


def maps(recipe: Recipe, sizes: ModelSizes) -> int:
    """Bytes of the maps of all sites, in float32: weight, whitener and references."""
    sites = 1 if recipe.reading.spec.target is Target.ANSWER else sizes.n_thoughts
    rows = 0 if recipe.reading.spec.map is Map.IDENTITY else features(recipe, sizes)
    return 4 * sites * sizes.width * (rows + sizes.width + 128)


def fitting_bytes(texts: int, width: int, limit_gib: float | None) -> float:
    """States of all texts, and the system that is solved for the map, in float64, in its smaller form."""
    states = 4.0 * texts * width
    system = 8.0 * (2 * texts * width + 2 * min(texts, width) ** 2)
    return states + (system if limit_gib is None else min(system, limit_gib * GIB))


def reading_pass(recipe: Recipe, sizes: ModelSizes, rows: int) -> float:
    """The frozen model reads so many texts and keeps all states of all layers for a moment."""
    asked = QUESTION_TOKENS if recipe.reading.spec.prefix == "question" else 0
    tokens = rows * (asked + recipe.grpo.max_new_tokens)
    states = (
        tokens * (sizes.n_layers + 1) * sizes.width * (sizes.itemsize + 4 + 4)
    )  # as they are, stacked, cut
    return float(states + sizes.kv(tokens) + sizes.passing(tokens))


# ---- actors


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
    head = sizes.n_vocab * sizes.width * item  # a packed copy, beside the embedding
    return {
        "libraries": VLLM_LIBRARIES,
        "weights": float(weights + mapped_by_engine(recipe, sizes)),
        "merged": float(head + changed / sizes.n_layers * 4 + ENGINE_HEAP * weights),
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
    return {
        "libraries": REWARD_LIBRARIES,
        "weights": float(sizes.weights),
        "maps": float(maps(recipe, sizes)),
        "activations": reading_pass(recipe, sizes, min(share, READ_ROWS)),
        # Copies while rows are shared out and put together, what is kept of earlier steps, and distractors.
        "features": 4 * read + min(KEPT_BYTES, 4 * read) + compared,
    }


def stage_texts(recipe: Recipe, section: Any) -> int:
    """Texts that are scored at once in a stage."""
    if hasattr(section, "thoughts_per_step"):
        return int(section.thoughts_per_step * section.samples * section.steps_per_generation)
    return 4096 if hasattr(section, "shortlist") else 0


def _own(name: str, config: AsksForActor, sizes: ModelSizes) -> Holding:
    """A reward's own actor that trains a copy of the model in float32 (`reading.reconstructor`)."""
    parts = {
        "libraries": float(REWARD_LIBRARIES),
        "weights": float(sizes.weights),
        "lora": float((ADAM + 4) * sizes.n_parameters),
        "activations": float(sizes.kept * READ_ROWS),
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
