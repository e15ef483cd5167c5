"""What transformers reads of a folder: its files alone, no code, and errors that name the folder.

A folder may come from anyone. transformers by itself asks at the terminal whether to run code that a
configuration names, puts an adapter that lies beside the weights on top of them, and lets a configuration
name other weights than those that this package has looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from reverse_codi.errors import blamed_on
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.utils.shown import brief

_CONFIG, _ADAPTER = "config.json", "adapter_config.json"
_FIX = "correct it, or fetch the checkpoint again"
_PLAIN = {"trust_remote_code": False, "local_files_only": True}
_PROBE = "Ann has 12."
# How attention is computed by this package's own dependencies; another name would be fetched from the hub.
_ATTENTION = (None, "eager", "sdpa")
# The key of a config.json that names other weights than the usual ones.
_WEIGHTS = "transformers_weights"
# Whole numbers without which no size is known, where the model has them.
_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")


def read_config(folder: Path) -> PretrainedConfig:
    """The configuration of a folder's language model.

    Raises:
        CheckpointError: it is none that transformers knows, or a size is no whole number above 0.
    """
    file = folder / _CONFIG
    with blamed_on(file, CheckpointError, _FIX):
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, **_PLAIN)
    sizes = {name: getattr(config, name, 1) for name in _SIZES}
    sizes["max_position_embeddings"] = getattr(config, "max_position_embeddings", None) or 1
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise CheckpointError(f"{file}: {name} is {brief(size)}; it must be a whole number above 0")
    if others := getattr(config, _WEIGHTS, None):
        raise CheckpointError(
            f"{file}: {_WEIGHTS} is {brief(others)}; only the weights that lie there under their usual "
            "names are loaded; take the key out"
        )
    if (attention := getattr(config, "_attn_implementation", None)) not in _ATTENTION:
        raise CheckpointError(
            f"{file}: attention is to be computed by {brief(attention)}, which would be code from elsewhere; "
            "take the key out"
        )
    return config


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder.

    Raises:
        CheckpointError: there is none, or its files are damaged.
    """
    with blamed_on(f"the tokenizer of {folder}", CheckpointError, _FIX):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, **_PLAIN)
        tokenizer.decode(tokenizer(_PROBE, add_special_tokens=False).input_ids)  # some damage shows in use
    return tokenizer


def read_language_model(folder: Path, **how: Any) -> PreTrainedModel:
    """The language model of a folder.

    Args:
        folder: configuration and weights.
        **how: as `AutoModelForCausalLM.from_pretrained` takes it.

    Raises:
        CheckpointError: it cannot be loaded, or an adapter lies beside it.
    """
    if (folder / _ADAPTER).is_file():
        raise CheckpointError(
            f"{folder / _ADAPTER}: an adapter beside the weights, which would change them; merge it, or move "
            "it into a folder of its own"
        )
    config = read_config(folder)
    with blamed_on(f"the language model of {folder}", CheckpointError, _FIX):
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, config=config, **how, **_PLAIN)
    return model
