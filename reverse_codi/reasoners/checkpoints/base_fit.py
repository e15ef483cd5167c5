"""Whether the base that a recipe names is the one that a checkpoint was trained on, told from shapes alone.

A wrong base makes hundreds of tensors misshapen. One line that names the difference and the key says more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from transformers import PretrainedConfig

from reverse_codi.reasoners.checkpoints.errors import CheckpointError

HEAD = "lm_head.weight"
_LAYER = re.compile(r"\.(?:h|layers)\.(\d+)\.")


def check_base(
    config: PretrainedConfig, model: Mapping[str, Tensor], table: str, weights: str, where: Path
) -> None:
    """Refuse a base of another kind, width or depth, and one that needs a head which the checkpoint lacks.

    Args:
        config: of the base.
        model: the checkpoint's tensors of the language model, by plain or PEFT's names.
        table: name of the input embedding in a model of `config`.
        weights: the checkpoint's files, for messages.
        where: folder of `config`.

    Raises:
        CheckpointError: names the first difference, and `reasoner.base`.
    """
    if table not in model:
        raise CheckpointError(
            f"{weights}: {table} is missing, the input embedding of a {config.model_type}, which {where} "
            "describes; name the base that was trained on in reasoner.base"
        )
    layers = {found[1] for name in model if ".lora_" not in name and (found := _LAYER.search(name))}
    for what, here, there in (
        ("width", config.hidden_size, model[table].shape[1]),
        ("depth", config.num_hidden_layers, len(layers)),
    ):
        if here != there:
            raise CheckpointError(
                f"{where / 'config.json'} describes a model of {what} {here}, but {weights} has {there}; "
                "name the base that was trained on in reasoner.base"
            )
    if HEAD not in model and not getattr(config, "tie_word_embeddings", True):
        raise CheckpointError(
            f"{where / 'config.json'} has tie_word_embeddings: false, but {weights} has no {HEAD}; name the "
            "base that was trained on in reasoner.base"
        )
