"""The PEFT configuration of an adapter's folder, refused where it means more than a LoRA of linear layers."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

from peft import LoraConfig

from reverse_codi.errors import UserError
from reverse_codi.storage.json_files import read_object
from reverse_codi.storage.manifest import check_files
from reverse_codi.trainers.checkpoints import ADAPTER_CONFIG, POLICY_WEIGHTS
from reverse_codi.utils.shown import brief

# What training sets, and what has no effect on a loaded adapter. Every other key has PEFT's own default in
# each adapter that this package writes. In a file from elsewhere it could scale or place the LoRA otherwise
# than the weights were trained for, compute for hours (initialisations), or make PEFT import a module.
_FREE = {
    *("r", "lora_alpha", "target_modules", "task_type", "peft_type", "inference_mode", "lora_dropout"),
    *("base_model_name_or_path", "revision", "peft_version", "fan_in_fan_out"),
}
_MOST = 1_000_000


class AdapterError(UserError):
    """An adapter cannot be used; the message names the file and the key."""


def adapter_config(adapter: str | Path) -> dict[str, Any]:
    """The PEFT configuration of a folder.

    Prompts are embedded by the trainer with the frozen table, and vLLM 0.31 unties the output head when it
    reloads a changed table, so an adapter must leave both alone.

    Raises:
        DamagedError: its files are not what was written.
        AdapterError: there is none, or no weights beside it; it is no LoRA, touches embeddings, or sets what
            training never sets.
    """
    fix = "write the policy again, or fetch it again"
    file = Path(adapter) / ADAPTER_CONFIG
    if not file.is_file():
        raise AdapterError(f"{file} is missing: {adapter} holds no PEFT adapter; {fix}")
    weights = Path(adapter) / POLICY_WEIGHTS
    if not weights.is_file():  # PEFT would take a pickle, or ask the hub
        raise AdapterError(f"{weights} is missing: {adapter} holds no adapter's weights; {fix}")
    check_files(adapter, (ADAPTER_CONFIG, POLICY_WEIGHTS), fix)
    config = read_object(file, fix)
    targets = config.get("target_modules")  # a text would be a pattern, and could take hours to match
    if not isinstance(targets, list) or not targets or not all(isinstance(name, str) for name in targets):
        raise AdapterError(f"{file}: target_modules is {brief(targets)}; it must be a list of layers' names")
    touched = {"embed_tokens", "lm_head"} & set(targets)
    if touched or config.get("modules_to_save") or config.get("trainable_token_indices"):
        raise AdapterError(
            f"{file} trains embeddings or whole modules; let the LoRA target linear layers only"
        )
    for key, fault in _faults(config).items():
        raise AdapterError(f"{file}: {key} is {brief(config.get(key))}; {fault}")
    return config


def _faults(config: dict[str, Any]) -> dict[str, str]:
    """What is wrong with each key, in order."""
    found = {}
    if config.get("peft_type") != "LORA":
        found["peft_type"] = "only LORA is loaded"
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 < rank <= _MOST:
        found["r"] = f"give a whole number from 1 to {_MOST}"
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < math.inf:
        found["lora_alpha"] = "give a number above 0"
    plain = _defaults()
    for key, value in config.items():
        if key not in _FREE and value != plain.get(key) and (value or key in plain):
            found[key] = f"{brief(plain.get(key))} is what a verbalizer has there"
    return found


@cache
def _defaults() -> dict[str, Any]:
    values: dict[str, Any] = LoraConfig().to_dict()
    return values
