"""Which rows of a checkpoint's embedding stand for tokens, and whose values a tied head and embedding have.

Tables are padded, to a multiple of 64 mostly. The rows behind the last token stand for nothing, and the
authors' code, whose table ends with the last token, cannot choose them: a padded row of zeros would be the
best answer of a model whose logits are all below 0. They are left out.
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
"""Rows from which on a table belongs to another vocabulary: nobody pads to a larger multiple."""


@dataclass(frozen=True)
class Vocabulary:
    """The rows of a checkpoint's embedding.

    Attributes:
        rows: that stand for tokens.
        padding: behind them.
    """

    rows: int
    padding: int


def vocabulary(
    layout: LayoutName, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, stored: int, where: str
) -> Vocabulary:
    """How many of the stored rows stand for tokens; all of them where the tokenizer is of another size.

    Args:
        layout: decides which tokens there are beside the tokenizer's.
        tokenizer: as described, before this layout's tokens.
        config: of the base model, as described.
        stored: rows of the checkpoint's input embedding.
        where: the tokenizer's folder, for messages.

    Raises:
        CheckpointError: the base counts the padding too, so that nothing says where CODI's ids begin.
    """
    if layout == LayoutName.CODI:
        rows = config.vocab_size + ADDED
        if config.vocab_size == stored:  # a configuration that was saved with the checkpoint
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
    """The same tensors with the rows of embedding and head that stand for tokens.

    Args:
        parts: of the checkpoint.
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
    """Coconut's second name of the embeddings must say the same as the first.

    Raises:
        CheckpointError: it does not.
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
    """One tensor for a head and the embedding that it is tied to, and what to say of it.

    The authors load a state dict into tied modules, one after the other: both end with the values of the one
    that is loaded last. That is the head, and for Coconut the embedding's second name.

    Args:
        tensors: of the language model.
        model: the language model, which knows what is tied.
        parts: of the checkpoint.

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
