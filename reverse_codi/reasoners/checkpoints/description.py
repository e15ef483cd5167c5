"""The configuration and tokenizer for a checkpoint's weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.files import check_fetched
from reverse_codi.reasoners.checkpoints.hugging_face import read_config, read_tokenizer
from reverse_codi.reasoners.checkpoints.source import located_base
from reverse_codi.recipe.reasoner import Source
from reverse_codi.storage.json_files import read_json

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tokenizer_config.json")


@dataclass(frozen=True)
class Description:
    """The configuration and tokenizer for a checkpoint's weights.

    Attributes:
        config: of the language model.
        tokenizer: as its author's code would load it, before this layout's tokens.
        config_from: where the configuration was read.
        tokenizer_from: where the tokenizer was read.
    """

    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase
    config_from: Path
    tokenizer_from: Path


def describe(source: Source, checkpoint: Path) -> Description:
    """Take the configuration from the recipe's base, else beside the weights; the tokenizer in reverse order.

    A checkpoint's own tokenizer may hold tokens that its base lacks; its own configuration is often
    empty or counts the vocabulary before the added rows.

    Raises:
        CheckpointError: neither place has one (the message names `reasoner.base`), or a file is a pointer.
    """
    folder = checkpoint.parent if checkpoint.is_file() else checkpoint
    base = located_base(source)
    places = [place for place in (base, folder) if place is not None]
    config_from = next((place for place in places if _model_type(place)), None)
    if config_from is None:
        raise CheckpointError(
            f"{folder / 'config.json'} names no model_type; name the base model in reasoner.base "
            "(a folder or hub id: only its configuration and tokenizer are read)"
        )
    tokenizer_from = next((place for place in reversed(places) if _has_tokenizer(place)), None)
    if tokenizer_from is None:
        raise CheckpointError(f"{folder} holds no tokenizer; name the base model in reasoner.base")
    for name in _TOKENIZER_FILES:
        if (tokenizer_from / name).is_file():
            check_fetched(tokenizer_from / name)
    config, tokenizer = read_config(config_from), read_tokenizer(tokenizer_from)
    return Description(config, tokenizer, config_from, tokenizer_from)


def _model_type(folder: Path) -> str | None:
    file = folder / "config.json"
    if not file.is_file():
        return None
    check_fetched(file)
    if not file.stat().st_size:  # as some checkpoints ship it
        return None
    config = read_json(file)
    named = config.get("model_type") if isinstance(config, dict) else None
    return named if isinstance(named, str) else None


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _TOKENIZER_FILES)
