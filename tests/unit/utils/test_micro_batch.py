from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, LlamaConfig

from reverse_codi.utils.micro_batch import (
    GIB,
    SPLIT,
    Shape,
    free_memory,
    micro_batch,
    pass_bytes,
    rows_at_once,
)

EMBEDDED = Shape(vocabulary=195, layers=2, width=160)
GPT2 = Shape(vocabulary=50_257, layers=12, width=768)
LLAMA_1B = Shape(vocabulary=128_256, layers=16, width=2048)


@pytest.mark.parametrize("config", [GPT2Config(n_layer=12), LlamaConfig(num_hidden_layers=12)])
def test_a_shape_is_read_from_any_configuration(config: GPT2Config | LlamaConfig) -> None:
    assert Shape.of(config) == Shape(config.vocab_size, 12, config.hidden_size)


@pytest.mark.parametrize(("batch", "tokens"), [(256, 49), (1024, 54), (2048, 34)])
def test_the_embedded_models_batches_stay_whole(batch: int, tokens: int) -> None:
    """Those of all recipes: the warm start, one text for a whole trace, 256 thoughts x 8 texts."""
    assert micro_batch("auto", batch, tokens, EMBEDDED) == batch


@pytest.mark.parametrize("shape", [GPT2, LLAMA_1B], ids=["gpt2", "llama-1b"])
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_a_large_models_batch_is_split_below_a_gib_and_into_as_few_parts_as_fit(
    shape: Shape, gradient_checkpointing: bool
) -> None:
    def needed(rows: int) -> int:
        return pass_bytes(rows, 33, shape, gradient_checkpointing=gradient_checkpointing)

    rows = micro_batch("auto", 1024, 33, shape, gradient_checkpointing=gradient_checkpointing)
    assert 1 < rows < 64
    assert needed(rows) <= SPLIT
    parts = -(-1024 // rows)
    assert needed(-(-1024 // (parts - 1))) > SPLIT  # one part fewer does not fit


def test_checkpointing_lets_more_rows_in() -> None:
    plain, saved = (micro_batch("auto", 256, 33, GPT2, gradient_checkpointing=on) for on in (False, True))
    assert saved >= 2 * plain


def test_a_gpu_gives_half_of_what_is_free() -> None:
    rows = [micro_batch("auto", 1024, 33, LLAMA_1B, free=free * GIB) for free in (1, 10, 40, 400)]
    assert rows == sorted(rows) and rows[-1] == 1024
    for free, n in zip((10, 40), rows[1:], strict=False):
        assert pass_bytes(n, 33, LLAMA_1B, on_gpu=True) <= free * GIB / 2


def test_one_row_is_the_least() -> None:
    assert micro_batch("auto", 64, 4096, LLAMA_1B) == 1
    assert micro_batch("auto", 1, 4096, LLAMA_1B) == 1
    assert rows_at_once(2**40, most=5) == 1


@pytest.mark.parametrize(
    ("asked", "batch", "rows"), [(8, 256, 8), (100, 256, 86), (300, 256, 256), (1, 7, 1), (6, 7, 4)]
)
def test_a_given_number_is_a_bound_and_parts_are_of_equal_size(asked: int, batch: int, rows: int) -> None:
    assert micro_batch(asked, batch, 33, GPT2) == rows


def test_only_a_gpu_says_what_is_free() -> None:
    assert free_memory(torch.device("cpu")) is None
