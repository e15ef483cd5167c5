"""An untrained language model for a new reasoner."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase


def new_language_model(tokenizer: PreTrainedTokenizerBase, **shape: Any) -> PreTrainedModel:
    """A new Llama with three rows after the vocabulary: pad, bot and eot, as CODI lays them out.

    Args:
        tokenizer: gives the vocabulary's size and the special ids.
        **shape: keyword arguments of `LlamaConfig` (hidden_size, num_hidden_layers, ...).
    """
    config = AutoConfig.for_model(
        "llama",
        vocab_size=len(tokenizer) + 3,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=True,
        **shape,
    )
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return model
