"""The project's own format: reading it, with every tensor and token accounted for.

`reasoner.json` beside a Hugging Face language model, its tokenizer and `projection.safetensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reverse_codi.errors import UserError, blamed_on
from reverse_codi.reasoners.checkpoints.accounting import check_finite, check_fits, copies, shapes, skeleton
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.files import read_tensors, shapes_in, weight_files
from reverse_codi.reasoners.checkpoints.hugging_face import (
    read_config,
    read_language_model,
    read_tokenizer,
)
from reverse_codi.reasoners.codi_config import CONFIG_FILE, PROJECTION_FILE, WEIGHTS_FILE, CodiConfig
from reverse_codi.reasoners.latent_lm import LatentLM, projection
from reverse_codi.storage.json_files import read_object


@dataclass(frozen=True)
class Own:
    """A reasoner in memory.

    Attributes:
        model: language model and projection.
        tokenizer: its tokenizer.
        config: its configuration.
    """

    model: LatentLM
    tokenizer: PreTrainedTokenizerBase
    config: CodiConfig


def read_own(folder: Path) -> Own:
    """Load a folder in the own format.

    Raises:
        FileNotFoundError: the folder holds no reasoner.
        CheckpointError: a file is truncated, or a tensor or token does not fit; nothing is loaded.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"{folder / CONFIG_FILE} is missing: {folder} holds no CODI reasoner")
    config = own_config(folder)
    read_config(folder)  # first: a tokenizer reads it too, and would be blamed for it
    tokenizer = read_tokenizer(folder)
    width = check_language_model(folder, tokenizer, config)
    file = folder / PROJECTION_FILE
    tensors = read_tensors(file) if config.projection_width or file.is_file() else {}
    with torch.device("meta"):  # the file may say any width
        check_fits(
            shapes(projection(width, config.projection_width).state_dict()), shapes(tensors), str(file)
        )
    prj = projection(width, config.projection_width)
    prj.load_state_dict(tensors)
    lm = read_language_model(folder)
    _check_tied(lm, folder)
    check_finite(dict(lm.named_parameters()), lambda name: f"{folder}: {name}")
    check_finite(prj.state_dict(), lambda name: f"{file}: {name}")
    model = LatentLM(lm, prj.to(lm.dtype), config.n_thoughts, config.bot_id, config.eot_id)
    return Own(model, tokenizer, config)


def own_config(folder: Path) -> CodiConfig:
    """The configuration of a folder in the own format.

    Raises:
        CheckpointError: a field is missing, unknown, of another type or out of range.
    """
    file = folder / CONFIG_FILE
    try:
        return CodiConfig.of_record(read_object(file))
    except UserError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from None


def check_language_model(folder: Path, tokenizer: PreTrainedTokenizerBase, config: CodiConfig) -> int:
    """Compare the language model's files with its configuration and tokenizer, by their headers alone.

    Returns:
        The model's width.

    Raises:
        CheckpointError: a tensor is missing, unknown or misshapen, a file is truncated, or a token has no
            row.
    """
    language_model = read_config(folder)
    files = [folder / WEIGHTS_FILE]
    if not files[0].is_file():
        files = [file for file in weight_files(folder) if file.name != PROJECTION_FILE]
    found = {name: shape for file in files for name, shape in shapes_in(file).items()}
    layers = getattr(language_model, "num_hidden_layers", 0)
    if layers > len(found):  # before so many are built
        raise CheckpointError(
            f"{folder}: config.json has {layers} layers, the weights have {len(found)} tensors in all; fetch "
            "the checkpoint again"
        )
    with blamed_on(folder / "config.json", CheckpointError, "fetch the checkpoint again"):
        model = skeleton(language_model)
    tied = copies(model)
    expected = {name: shape for name, shape in shapes(model.state_dict()).items() if name not in tied}
    check_fits(expected, {n: s for n, s in found.items() if n not in tied}, ", ".join(map(str, files)))
    table = model.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    rows = table.num_embeddings
    for name in ("eos_token", "pad_token"):
        if getattr(tokenizer, f"{name}_id") is None:
            raise CheckpointError(f"{folder}: the tokenizer names no {name}; set it in tokenizer_config.json")
    highest = max(tokenizer.get_vocab().values(), default=0)
    if max(highest, len(tokenizer) - 1, *config.ids) >= rows:
        raise CheckpointError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, ids up to {highest}, bot is "
            f"{config.bot_id} and eot {config.eot_id}, but the embedding has {rows} rows"
        )
    return int(model.config.hidden_size)


def _check_tied(lm: PreTrainedModel, folder: Path) -> None:
    """Refuse a head that differs from the embedding which config.json ties it to.

    transformers 5 leaves the two different, with a warning; a state dict loaded into tied modules gives both
    the head's values. Readers of the folder would have different models.
    """
    for name, kept in copies(skeleton(lm.config)).items():
        if lm.get_parameter(name) is not lm.get_parameter(kept):
            raise CheckpointError(
                f"{folder}: {name} differs from {kept}, but config.json has tie_word_embeddings: true; set "
                "it to false, or leave the one that does not count out of the file"
            )
