"""How many rows of a batch a model computes at once, so that memory stays bounded: arithmetic alone.

A pass over rows of tokens with gradients keeps two things beside the weights: what autograd saves in every
layer, and logits over the vocabulary. TRL 1.16 holds one tile of logits at a time (pinned by
tests/contract/test_trl_contract.py), so in a model of many layers these need more than the vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch

from reverse_codi.processes.memory import GIB

MicroBatch = int | Literal["auto"]

# A batch that needs no more than this is left whole: its results stay those of earlier versions, digit by
# digit. The embedded model's largest batch (2,048 texts of 27 tokens) took 2.0 GiB.
WHOLE = 4 * GIB
# A batch that needs more is split into micro-batches of about this size. They are small because the process
# holds a reader and a reference beside them.
SPLIT = GIB
# On a GPU, the share of the free memory that a micro-batch may take.
SHARE_OF_GPU = 0.5

_FLOAT = 4
# Floats a token, layer and unit of width that a pass with a LoRA on every linear layer takes: 30 (embedded),
# 48 to 56 (GPT-2 and Llama of width 768, 6 layers, 64 x 33 tokens; peak of the process on CPU, torch 2.13).
# With 40, and the tile below, a GPT-2 of 2 layers took .1 to .3 GiB more than this (docs/performance.md).
_FLOATS_SAVED = 40
# TRL's tile of logits, and how many copies of it exist at once on CPU (7.5 measured, 2,048 tokens x 50,257
# words). On a GPU a kernel turns a tile into its gradient in place.
TILE_TOKENS, TILE_WORDS = 4096, 32768
_TILE_COPIES, _TILE_COPIES_ON_GPU = 8, 2
# What a pass without gradients may hold at once.
_NO_GRADIENTS = GIB // 4


@dataclass(frozen=True)
class Shape:
    """What decides the memory of a pass.

    Attributes:
        vocabulary: V, the number of words.
        layers: number of layers.
        width: d.
    """

    vocabulary: int
    layers: int
    width: int

    @classmethod
    def of(cls, config: Any) -> Self:
        """Of a Hugging Face configuration."""
        return cls(int(config.vocab_size), int(config.num_hidden_layers), int(config.hidden_size))


def pass_bytes(
    rows: int, tokens: int, shape: Shape, *, gradient_checkpointing: bool = False, on_gpu: bool = False
) -> int:
    """Estimated bytes that a forward and backward pass takes beside weights, gradients and optimizer.

    Args:
        rows: texts.
        tokens: of prompt and text together, padding included.
        shape: of the model.
        gradient_checkpointing: only each layer's input is kept, and one layer is computed again at a time.
        on_gpu: how often a tile of logits exists at once depends on it.
    """
    kept = shape.layers + _FLOATS_SAVED if gradient_checkpointing else shape.layers * _FLOATS_SAVED
    return _FLOAT * rows * tokens * shape.width * kept + tile_bytes(rows * tokens, shape, on_gpu)


def tile_bytes(tokens: int, shape: Shape, on_gpu: bool) -> int:
    """Bytes of the logits that a pass over so many tokens holds at once."""
    copies = _TILE_COPIES_ON_GPU if on_gpu else _TILE_COPIES
    return _FLOAT * min(tokens, TILE_TOKENS) * min(shape.vocabulary, TILE_WORDS) * copies


def micro_batch(
    asked: MicroBatch,
    batch: int,
    tokens: int,
    shape: Shape,
    *,
    gradient_checkpointing: bool = False,
    free: int | None = None,
) -> int:
    """Rows of one forward and backward pass.

    Args:
        asked: a number of rows, at most the batch; or `auto`.
        batch: rows of one optimizer step.
        tokens: of the longest prompt and text together.
        shape: of the model.
        gradient_checkpointing: see `pass_bytes`.
        free: bytes that are free on the GPU; None on CPU.

    Returns:
        Rows; where the batch is split, parts of equal size but for one row.

    >>> embedded = Shape(vocabulary=195, layers=2, width=160)
    >>> micro_batch("auto", 2048, 34, embedded)
    2048
    >>> llama_1b = Shape(vocabulary=128_256, layers=16, width=2048)
    >>> micro_batch("auto", 1024, 33, llama_1b)
    5
    >>> micro_batch(100, 256, 33, llama_1b)
    86
    """

    def needed(rows: int) -> int:
        return pass_bytes(
            rows, tokens, shape, gradient_checkpointing=gradient_checkpointing, on_gpu=free is not None
        )

    whole, split = (WHOLE, SPLIT) if free is None else 2 * (int(SHARE_OF_GPU * free),)
    if asked != "auto":
        most = min(asked, batch)
    elif needed(batch) <= whole:
        most = batch
    else:
        most = next((rows for rows in range(batch - 1, 1, -1) if needed(rows) <= split), 1)
    return math.ceil(batch / math.ceil(batch / most))


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a GPU, what torch keeps for itself included; None on any other device."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def rows_at_once(floats: int, most: int) -> int:
    """Rows that a pass without gradients computes at once: a quarter of a GiB, and at least one row.

    Args:
        floats: numbers that one row holds at the worst moment, such as copies x tokens x words.
        most: rows that would be computed at once if memory did not matter.

    >>> rows_at_once(3 * 40 * 195, most=64)  # the embedded model: 195 words
    64
    >>> rows_at_once(3 * 40 * 128_256, most=64)
    4
    """
    return max(1, min(most, _NO_GRADIENTS // (_FLOAT * floats)))
