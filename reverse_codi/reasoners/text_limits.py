"""Texts that a language model cannot read: half a character in them, or more tokens than it has positions.

Without a check a model with a table of positions fails in that table, and one that computes its positions
reads on, beyond anything that it was trained on and for minutes or hours: attention is quadratic.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PretrainedConfig

from reverse_codi.errors import UserError
from reverse_codi.storage.text_files import half_character
from reverse_codi.utils.shown import brief


class TextLimitError(UserError):
    """A text cannot be read; the message shows its beginning and the limit."""


def check_whole(texts: Sequence[str]) -> None:
    """Refuse texts that hold half a character, which no tokenizer takes.

    Raises:
        TextLimitError: names the first and where in it.
    """
    for text in texts:
        if half := half_character(text):
            raise TextLimitError(f"the text {brief(text)}: {half}")


def check_room(config: PretrainedConfig, texts: Sequence[str], lengths: Sequence[int], what: str) -> None:
    """Refuse texts that do not fit into a model's positions.

    Args:
        config: of the language model.
        texts: N texts, for the message.
        lengths: N numbers of tokens that the model is given in all.
        what: these are besides the text, for the message; "" for nothing.

    Raises:
        TextLimitError: the first that is too long, with both numbers.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return
    for text, length in zip(texts, lengths, strict=True):
        if length > positions:
            beside = f", {what} included," if what else ""
            raise TextLimitError(
                f"the text {brief(text)} has {length:,} tokens{beside} and the model has {positions:,} "
                "positions; shorten it"
            )
