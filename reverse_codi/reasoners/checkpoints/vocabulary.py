"""The rows of a checkpoint's embedding that stand for tokens, and the values of a tied head and embedding.

Tables are padded, mostly to a multiple of 64. Rows after the last token stand for nothing and are left out.
The authors' code cannot choose them, because its table ends with the last token. A padded row of zeros would
be the best answer of a model whose logits are all below 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from reverse_codi.reasoners.checkpoints.accounting import copies, skeleton
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.files import Weights
from reverse_codi.reasoners.checkpoints.layouts import SECOND_NAME, Family, Parts
from reverse_codi.reasoners.checkpoints.prompting import ADDED, END, LATENT, START
from reverse_codi.recipe.reasoner import LayoutName

PADDED = 128
"""Number of extra rows that means another vocabulary; padding to a larger multiple does not occur."""


@dataclass(frozen=True)
class Vocabulary:
    """The rows of a checkpoint's embedding.

    Attributes:
        rows: number of rows that stand for tokens.
        padding: number of rows after them.
    """

    rows: int
    padding: int


def vocabulary(
    layout: LayoutName, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, stored: int, where: str
) -> Vocabulary:
    """How many of the stored rows stand for tokens; all of them if the tokenizer has another size.

    Args:
        layout: decides which tokens are added to the tokenizer's.
        tokenizer: the tokenizer before this layout's tokens are added.
        config: configuration of the base model.
        stored: number of rows of the checkpoint's input embedding.
        where: the tokenizer's folder, for messages.

    Raises:
        CheckpointError: the base counts the padding too, so CODI's ids have no known place.
    """
    if layout == LayoutName.CODI:
        rows = config.vocab_size + ADDED
        if config.vocab_size == stored:  # a configuration saved with the checkpoint
            rows = stored
            behind = stored - len(tokenizer) - ADDED
            if 0 < behind < PADDED and stored % 8 == 0:
                raise CheckpointError(
                    f"{where}: config.json and the embedding have {stored} ids, the tokenizer has "
                    f"{len(tokenizer)} tokens; {behind} ids are padding, and nothing says whether pad, bot "
                    "and eot lie before or behind it; name the base model in reasoner.base"
                )
    elif layout == LayoutName.COCONUT:
        rows = len({*tokenizer.get_vocab(), START, END, LATENT})
    else:
        rows = len(tokenizer)
    padding = stored - rows
    return Vocabulary(rows, padding) if 0 <= padding < PADDED else Vocabulary(stored, 0)


def table_name(config: PretrainedConfig) -> str:
    """The input embedding's name among a language model's tensors."""
    model = skeleton(config)
    table = model.get_input_embeddings()
    return next(name for name, module in model.named_modules() if module is table) + ".weight"


def without_padding(parts: Parts, table: str, found: Vocabulary) -> Parts:
    """The tensors without padded rows of embedding and head.

    Args:
        parts: tensors of the checkpoint.
        table: name of the input embedding.
        found: its rows.
    """
    if not found.padding:
        return parts
    stored, model = len(parts.model[table]), dict(parts.model)
    for name in (table, "lm_head.weight", "lm_head.bias"):
        if name in model and len(model[name]) == stored:
            model[name] = model[name][: found.rows]
    return replace(parts, model=model)


def check_second_name(family: Family, parts: Parts, table: str, weights: Weights) -> None:
    """Require Coconut's two copies of the embedding to be equal.

    Raises:
        CheckpointError: they differ.
    """
    for name, tensor in parts.aside.get(SECOND_NAME, {}).items():
        if not _same(tensor, parts.model[table]):
            raise CheckpointError(
                f"{weights.place(name)} is no copy of {family.model}{table}: the checkpoint was put together "
                "from two"
            )


def tied(
    tensors: Mapping[str, Tensor], model: PreTrainedModel, parts: Parts
) -> tuple[dict[str, Tensor], str]:
    """One tensor for a head and the embedding that it is tied to, with a line for the report.

    The authors load a state dict into tied modules one after the other, so both end with the values that are
    loaded
    last: those of the head, and for Coconut those of the embedding's second name.

    Args:
        tensors: tensors of the language model.
        model: the language model, which knows what is tied.
        parts: tensors of the checkpoint.

    Raises:
        CheckpointError: the head has another shape.
    """
    rest, note = dict(tensors), ""
    for name, kept in copies(model).items():
        other = rest.pop(name, None)
        if other is None or kept not in rest:
            continue
        if other.shape != rest[kept].shape:
            raise CheckpointError(
                f"{name} has shape {tuple(other.shape)}, {kept} {tuple(rest[kept].shape)}, though "
                "config.json ties them (tie_word_embeddings); name the base that was trained on in "
                "reasoner.base"
            )
        if _same(other, rest[kept]):
            note = f"{name} is the same as {kept}"
        else:
            last = kept if SECOND_NAME in parts.aside else name
            note = f"{name} is other than {kept}; both have the values of {last}, which its authors load last"
            rest[kept] = rest[kept] if last == kept else other
    return rest, note


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and (one.is_meta or other.is_meta or torch.equal(one, other))
