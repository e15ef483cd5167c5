"""What the trainer holds in each of its stages, by parts, from sizes alone.

Constants say where they were measured; figures of a GPU are computed and have not been measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reverse_codi.recipe.reading import Map, Point, Target
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training.model_sizes import ModelSizes
from reverse_codi.utils.memory import GIB, MIB

# Python with its libraries before any model is loaded, on Linux with a CPU build of torch.
TRAINER_LIBRARIES = 740 * MIB
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
