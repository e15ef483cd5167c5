"""Content hashes of reasoners and tokenizers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase


def weights_hash(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> str:
    """SHA-256 over a configuration and every tensor's name, shape, type and bytes."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)  # the bytes themselves, not a copy
    return digest.hexdigest()


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 over the vocabulary with its ids, the special tokens, and the tokens of a test text."""
    probe = tokenizer("Ann has 1,234.5 apples -- (no step).").input_ids
    parts = [sorted(tokenizer.get_vocab().items()), tokenizer.special_tokens_map, probe]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
