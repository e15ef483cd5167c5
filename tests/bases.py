"""A base model that knows nothing of thoughts: a folder as anyone's pretrained language model is kept in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.words import word_tokenizer


def make_base(folder: Path, hidden: int = 32) -> PreTrainedTokenizerBase:
    """Write an untrained Llama over the vocabulary of `Arithmetic`; returns its tokenizer."""
    tokenizer = word_tokenizer(Arithmetic().vocabulary())
    config = AutoConfig.for_model(
        "llama",
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


GGUF_TOKENS = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("0123456789+-*/=.?:"),
    *("Ġ", "a", "n", "an", "e", "h", "i", "r", "s", "is", "w", "t", "T"),
]


def make_gguf(path: Path) -> None:
    """Write an untrained Llama of one layer as SmolLM2's GGUF is laid out: begin token 1, end token 2."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(GGUF_TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(GGUF_TOKENS)
    writer.add_token_types([3, 3, 3, *[1] * (len(GGUF_TOKENS) - 3)])
    writer.add_token_merges(["a n", "i s"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    square = ("attn_q", "attn_k", "attn_v", "attn_output")
    shapes = {"token_embd": (len(GGUF_TOKENS), 32), "output_norm": (32,)}
    shapes |= {"blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,), "blk.0.ffn_down": (32, 64)}
    shapes |= {f"blk.0.{name}": (32, 32) for name in square}
    shapes |= {f"blk.0.{name}": (64, 32) for name in ("ffn_gate", "ffn_up")}
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
