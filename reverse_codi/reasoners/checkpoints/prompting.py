"""The prompt of each layout: its token ids, the tokens before bot and after eot, the answer cue.

A wrong id here still gives fluent answers, so this module checks everything that it can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.layouts import COCONUT, Family
from reverse_codi.recipe.reasoner import LayoutName

BOT, EOT = "<|bocot|>", "<|eocot|>"
START, END, LATENT = "<|start-latent|>", "<|end-latent|>", "<|latent|>"
# The prompt of published work on bcywinski/codi_llama1b-answer_only, its author's included.
ANSWER_ONLY = "{question} Give the answer only and nothing else."
ADDED = 3
"""Ids that CODI lays behind its base's: pad, bot and eot."""
# Both in tokens; the longest published solutions of GSM8K fit.
LONGEST_ANSWER, LONGEST_SOLUTION = 32, 256

Prompting = dict[str, Any]
"""Fields of `CodiConfig`."""


def layout_of(family: Family, tokenizer: PreTrainedTokenizerBase, asked: str) -> LayoutName:
    """The layout; CODI's two layouts differ only in the tokenizer.

    Raises:
        CheckpointError: the recipe names a layout of another family.
    """
    possible: tuple[LayoutName, ...] = (LayoutName.COCONUT,)
    found = LayoutName.COCONUT
    if family is not COCONUT:
        possible = (LayoutName.CODI, LayoutName.CODI_TOKENS)
        vocabulary = tokenizer.get_vocab()
        found = LayoutName.CODI_TOKENS if BOT in vocabulary and EOT in vocabulary else LayoutName.CODI
    if asked == LayoutName.AUTO:
        return found
    if asked not in possible:
        raise CheckpointError(
            f"reasoner.layout = {asked!r}, but the keys are those of {family.name} "
            f"({family.model}*); set it to auto"
        )
    return LayoutName(asked)


def prompting(
    layout: LayoutName, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, rows: int, where: str
) -> Prompting:
    """Fields of `CodiConfig` for a layout; adds the layout's tokens to the tokenizer.

    Args:
        layout: the layout.
        tokenizer: changed in place.
        config: configuration of the base model.
        rows: number of rows of the checkpoint's embedding.
        where: the tokenizer's folder, for messages.

    Raises:
        CheckpointError: the tokenizer does not match the embedding's rows, or lacks a token.
    """
    begin = _begin(tokenizer)
    shared: Prompting = {
        "begin_ids": begin,
        "max_answer_tokens": LONGEST_ANSWER,
        "max_written_tokens": LONGEST_SOLUTION,
    }
    return shared | _OF[layout](tokenizer, config, rows, where)


def _codi(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, rows: int, where: str) -> Prompting:
    """Appended ids: pad V, bot V + 1, eot V + 2; the tokenizer knows none, or pad alone."""
    size = rows - ADDED
    if config.vocab_size not in (size, rows):
        raise CheckpointError(
            f"{where}: the base model has {config.vocab_size} token ids, the checkpoint's embedding "
            f"{rows} rows; CODI appends {ADDED}, so name the base that was trained on in reasoner.base"
        )
    if len(tokenizer) == size:
        # As in CODI's code: the first id after the vocabulary, which has a row.
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    if len(tokenizer) > size + 1 or (len(tokenizer) == size + 1 and tokenizer.pad_token_id != size):
        raise CheckpointError(
            f"{where}: the tokenizer has {len(tokenizer)} tokens, the checkpoint's embedding "
            f"{rows} rows of which the last 3 are pad, bot and eot; name the base that was trained on in "
            "reasoner.base"
        )
    if tokenizer.pad_token_id is None:  # fewer tokens than rows: a base whose table is padded
        tokenizer.pad_token = tokenizer.eos_token
    # CODI's decoding takes the best of all ids but the last, which is eot.
    return {
        "bot_id": size + 1,
        "eot_id": size + 2,
        "unwritten_ids": (size + 2,),
        "cue": cue_of(tokenizer, "The answer is:"),
    }


def _codi_tokens(
    tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, rows: int, where: str
) -> Prompting:
    """Tokens of the tokenizer, [eos, bot] before the thoughts; the written steps come after them too."""
    _require(tokenizer, (BOT, EOT), where)
    _same_size(tokenizer, rows, where)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    eos, vocabulary = tokenizer.eos_token_id, tokenizer.get_vocab()
    bot, eot = vocabulary[BOT], vocabulary[EOT]
    return {
        "bot_id": bot,
        "eot_id": eot,
        "before_bot": (eos,),
        "written_ids": (eos, bot),
        "question_format": ANSWER_ONLY,
        "cue": "",
        # Its decoding, too, takes the best of all ids but the table's last; written steps take any.
        "unwritten_ids": (rows - 1,),
    }


def _coconut(
    tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, rows: int, where: str
) -> Prompting:
    """Three tokens added to the base's; the steps it was first trained on follow the question directly."""
    # In this order: the ids follow it.
    tokenizer.add_tokens([token for token in (START, END, LATENT) if token not in tokenizer.get_vocab()])
    _same_size(tokenizer, rows, where)
    tokenizer.pad_token = tokenizer.eos_token
    vocabulary = tokenizer.get_vocab()
    return {
        "bot_id": vocabulary[START],
        "eot_id": vocabulary[END],
        "question_format": "{question}\n",
        "cue": cue_of(tokenizer, "###"),
    }


_OF: dict[LayoutName, Callable[[PreTrainedTokenizerBase, PretrainedConfig, int, str], Prompting]] = {
    LayoutName.CODI: _codi,
    LayoutName.CODI_TOKENS: _codi_tokens,
    LayoutName.COCONUT: _coconut,
}


def _require(tokenizer: PreTrainedTokenizerBase, tokens: tuple[str, ...], where: str) -> None:
    missing = [token for token in tokens if token not in tokenizer.get_vocab()]
    if missing:
        raise CheckpointError(
            f"{where}: the tokenizer lacks {' and '.join(missing)}; it is that of another model, "
            "or reasoner.layout is not codi-tokens"
        )


def _same_size(tokenizer: PreTrainedTokenizerBase, rows: int, where: str) -> None:
    if len(tokenizer) != rows:
        raise CheckpointError(
            f"{where}: the tokenizer has {len(tokenizer)} tokens, the checkpoint's embedding {rows} rows; "
            "name the base that was trained on in reasoner.base"
        )


def _begin(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The ids that the tokenizer puts before a text: begin-of-text for Llama, none for GPT-2."""
    bare = list(tokenizer("a", add_special_tokens=False).input_ids)
    whole = list(tokenizer("a").input_ids)
    at = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return tuple(whole[:at])


def cue_of(tokenizer: PreTrainedTokenizerBase, cue: str) -> str:
    """A cue up to the last token before an answer's digits.

    Llama splits " 12" into a space and the number; GPT-2 keeps it whole. CODI's state is taken at the token
    before the number. An empty cue stays empty.
    """

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    longer = ids(f"{cue} ")
    apart = len(longer) > len(ids(cue)) and ids(f"{cue} 12")[: len(longer)] == longer
    return f"{cue} " if cue and apart else cue
