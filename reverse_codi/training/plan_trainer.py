"""What the trainer holds in each of its stages, by parts, from sizes alone.

Constants say where they were measured; figures of a GPU are computed and have not been measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reverse_codi.processes.memory import GIB, MIB
from reverse_codi.reading.affine import REFERENCES
from reverse_codi.reading.basis import fit_bytes, rank_within
from reverse_codi.reading.reader import CHUNK, CHUNK_BYTES, GPU_CHUNK_BYTES
from reverse_codi.reasoners.batches import CPU_TOKENS
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.reading import Map, Point, Target
from reverse_codi.recipe.reinforce import DistilSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.training.model_sizes import ModelSizes
from reverse_codi.training.search import BLOCK
from reverse_codi.utils.micro_batch import Shape, micro_batch, tile_bytes
from reverse_codi.verbalize.translations.reference_texts import PER_SITE

# Python with its libraries before any model is loaded, on Linux with a CPU build of torch.
TRAINER_LIBRARIES = 740 * MIB
# What a pass takes over what autograd keeps (4 to 6 %, measured), where freed memory goes back at once.
PASSING_SHARE = 1.06
# What tensors take on a CPU's heap over their sizes, because what is freed is not always used again. A GRPO
# step of 2,048 texts of the embedded model took 1.8 times, one of GPT-2 1.5 times.
HEAP = 1.7
# Tokens of an ordinary question, an answer and written steps, where no one has counted.
QUESTION_TOKENS, ANSWER_TOKENS, WRITTEN_TOKENS = 64, 24, 64
# Tokens of the longest question of a batch, to which the others are padded; in GPT-2's tokens GSM8K's longest
# has 241 and ProsQA's 569. Generated tasks have short ones.
LONGEST_QUESTION = {"arithmetic": 64, "graph": 64, "prosqa": 570, "prontoqa": 570}
LONGEST_OTHER_QUESTION = 200
# Tokens of a claim. The longest that a policy may sample decides how many rows go through at once; since
# texts of like length do, what they hold follows from the ordinary ones.
CLAIM_TOKENS = 16
ORDINARY_CLAIM = {"arithmetic": 10}
# Rows of one forward pass of the frozen model (`CodiReasoner.batch_size`).
ASKED_ROWS = 512
# AdamW keeps a gradient and two moments for each weight, in float32.
ADAM = 4 * 4


def tracing(recipe: Recipe, sizes: ModelSizes) -> dict[str, float]:
    """Thinking and answering, and writing steps where they are asked for."""
    written = WRITTEN_TOKENS if recipe.needs_self_generated_cot else 0
    asked = LONGEST_QUESTION.get(recipe.task.name, LONGEST_OTHER_QUESTION)
    on_gpu = recipe.reasoner.on_gpu
    rows = min(recipe.trace.batch_size, ASKED_ROWS if on_gpu else max(1, CPU_TOKENS // asked))
    length = asked + max(sizes.n_thoughts + ANSWER_TOKENS, written)
    vectors = 4 * (recipe.trace.n + recipe.trace.n_heldout) * (2 * sizes.n_thoughts + 1) * sizes.width
    return {
        "libraries": TRAINER_LIBRARIES,
        "weights": float(sizes.weights),
        "kv cache": float(sizes.kv(rows * length) * (1 + 1 / sizes.n_layers)),  # one layer is being extended
        "activations": float(sizes.passing(rows * asked)),
        "logits": 2.0 * sizes.logits(rows),
        "features": min(vectors, GIB),
    }


def fitting(recipe: Recipe, sizes: ModelSizes) -> dict[str, float]:
    """Reading texts and fitting the maps."""
    texts = min(recipe.trace.n, recipe.reading.traces or recipe.trace.n)
    return {
        "libraries": TRAINER_LIBRARIES,
        "weights": float(sizes.weights),
        "maps": float(maps(recipe, sizes)),
        "activations": reading_pass(recipe, sizes, CHUNK, recipe.reasoner.on_gpu),
        "features": float(fit_bytes(texts, features(recipe, sizes))),
    }


def warming(recipe: Recipe, sizes: ModelSizes) -> dict[str, float]:
    """Supervised fine-tuning."""
    return supervised(recipe, sizes, recipe.warm_start)


def learning(section: Any) -> Callable[[Recipe, ModelSizes], dict[str, float]]:
    """One stage of reinforcement."""

    def parts(recipe: Recipe, sizes: ModelSizes) -> dict[str, float]:
        if isinstance(section, GrpoSection):
            rows = section.thoughts_per_step * section.samples // recipe.train.workers
            held = training_pass(recipe, sizes, section, rows, section.max_new_tokens)
            return {**held, "maps": float(maps(recipe, sizes))}
        if isinstance(section, DistilSection):
            return supervised(recipe, sizes, section)
        return searching(recipe, sizes)

    return parts


def searching(recipe: Recipe, sizes: ModelSizes) -> dict[str, float]:
    """Comparing a search's texts with all thoughts, in blocks of each."""
    thoughts = 4.0 * recipe.trace.n * sizes.n_thoughts * sizes.width
    return {
        "libraries": TRAINER_LIBRARIES,
        "weights": float(sizes.weights),
        "lora": 4.0 * sizes.n_lora,
        "maps": float(maps(recipe, sizes)),
        "activations": reading_pass(recipe, sizes, CHUNK, recipe.reasoner.on_gpu),
        "logits": float(sizes.logits(ASKED_ROWS)),  # of lens search, and of the canary
        # As the store has them, one a slot, and whitened; a block of texts; distances of block to block.
        "features": 3 * thoughts + 4.0 * BLOCK * (features(recipe, sizes) + sizes.width + 2 * BLOCK),
    }


def finishing(recipe: Recipe, sizes: ModelSizes) -> dict[str, float]:
    """Translating the references of all sites with the finished verbalizer, on an engine of its own.

    The engine maps the file of the base once more and merges the adapter into layers of its own.
    """
    rows = 0 if recipe.reading.spec.target is Target.ANSWER else PER_SITE * sizes.n_thoughts
    held = 2.0 * sizes.kv(rows * (recipe.grpo.max_new_tokens + 8))  # one copy while it is extended
    return {
        "libraries": TRAINER_LIBRARIES,
        "weights": 2.0 * sizes.weights,
        "merged": float(sizes.n_targeted * sizes.itemsize),
        "lora": 2 * 4.0 * sizes.n_lora,
        "maps": float(maps(recipe, sizes)),
        "kv cache": held,
        "logits": 3.0 * sizes.logits(rows),
    }


def supervised(
    recipe: Recipe, sizes: ModelSizes, section: WarmStartSection | DistilSection
) -> dict[str, float]:
    """Fine-tuning on texts, with the held-out evaluation within it."""
    rows = section.batch_size // recipe.train.workers
    held = training_pass(recipe, sizes, section, rows, CLAIM_TOKENS)
    evaluated = sizes.kv(recipe.grpo.eval_thoughts * recipe.grpo.max_new_tokens)
    return {**held, "maps": float(maps(recipe, sizes)), "kv cache": float(evaluated)}


def training_pass(
    recipe: Recipe,
    sizes: ModelSizes,
    section: WarmStartSection | DistilSection | GrpoSection,
    rows: int,
    text: int,
) -> dict[str, float]:
    """Weights, LoRA with its optimizer, and the forward and backward pass of one micro-batch.

    Where several trainers share a batch, `rows` are those of one.
    """
    slots = sizes.n_thoughts if recipe.reading.spec.target is Target.ANSWER else 1
    tokens, shape = slots + text, Shape(sizes.n_vocab, sizes.n_layers, sizes.width)
    on_gpu, saving = recipe.reasoner.on_gpu, section.gradient_checkpointing
    at_once = micro_batch(section.micro_batch, rows, tokens, shape, gradient_checkpointing=saving)
    held = at_once * (slots + min(text, ORDINARY_CLAIM.get(recipe.task.name, CLAIM_TOKENS)))
    kept = sizes.kept / sizes.n_layers + 4 * sizes.n_layers * sizes.width if saving else sizes.kept
    return {
        "libraries": TRAINER_LIBRARIES,
        "weights": float(sizes.weights),
        "lora": float(ADAM * sizes.n_lora),
        "activations": PASSING_SHARE * (1.0 if on_gpu else HEAP) * held * kept,
        "logits": float(tile_bytes(held, shape, on_gpu)),
    }


def blocks_of(recipe: Recipe, sizes: ModelSizes) -> int:
    """B, the states that are kept of a text: one for each layer at each point."""
    spec = recipe.reading.spec
    return (4 if spec.point is Point.NUMBERS else 1) * len(spec.layer_indices(sizes.n_layers + 1))


def features(recipe: Recipe, sizes: ModelSizes) -> int:
    """F, the numbers of a text that a map is fitted on: its states, or fewer directions of them."""
    blocks = blocks_of(recipe, sizes)
    texts = min(recipe.trace.n, recipe.reading.traces or recipe.trace.n)
    rank = rank_within(texts, blocks, sizes.width, recipe.reading.memory_gib * GIB)
    return blocks * (sizes.width if rank is None else rank)


def maps(recipe: Recipe, sizes: ModelSizes) -> int:
    """Bytes of the maps of all sites, in float32: weight, whitener and references."""
    sites = 1 if recipe.reading.spec.target is Target.ANSWER else sizes.n_thoughts
    rows = 0 if recipe.reading.spec.map is Map.IDENTITY else features(recipe, sizes)
    return 4 * sites * sizes.width * (rows + sizes.width + REFERENCES)


def reading_pass(recipe: Recipe, sizes: ModelSizes, rows: int, on_gpu: bool) -> float:
    """The frozen model reads a chunk of at most so many texts, with all states of all layers."""
    asked = QUESTION_TOKENS if recipe.reading.spec.prefix == "question" else 0
    of_token = (sizes.n_layers + 1) * sizes.width
    length = asked + CLAIM_TOKENS
    if on_gpu:
        rows = min(rows, max(1, GPU_CHUNK_BYTES // (4 * of_token * CLAIM_TOKENS)))
        tokens = rows * length
        # Of all tokens as they are; of the texts' own stacked, then in float32.
        states = of_token * (tokens * sizes.itemsize + rows * CLAIM_TOKENS * (sizes.itemsize + 4))
    else:
        tokens = min(rows * length, CHUNK_BYTES // (4 * of_token))
        states = tokens * of_token * (sizes.itemsize + 4 + 4)  # as they are, stacked, cut
        rows = min(rows, tokens // length)
    kept = 2 * 4 * rows * blocks_of(recipe, sizes) * sizes.width
    return float(states + kept + sizes.kv(tokens) + sizes.passing(tokens))
