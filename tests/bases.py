"""A base model that knows nothing of thoughts: a folder as anyone's pretrained language model is kept in."""

from __future__ import annotations

from pathlib import Path

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
