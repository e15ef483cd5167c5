"""The configuration of a CODI or Coconut reasoner beyond its language model, and its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Self

CONFIG_FILE = "reasoner.json"
PROJECTION_FILE = "projection.safetensors"
WEIGHTS_FILE = "model.safetensors"

# Always recorded, and so hashed. Later fields are recorded only if they differ from their default, so that
# hashes of older reasoners, and of everything made from them, stay the same.
_ALWAYS = (
    "n_thoughts",
    "projection_width",
    "bot_id",
    "eot_id",
    "cue",
    "max_answer_tokens",
    "max_written_tokens",
)


@dataclass(frozen=True)
class CodiConfig:
    """The configuration of a CODI or Coconut checkpoint beyond its language model.

    The prompt is begin_ids, the formatted question, before_bot, bot. K thoughts and eot follow, and then the
    model writes its answer.

    Attributes:
        n_thoughts: K.
        projection_width: hidden width of `prj`; 0 if there is no projection (Coconut).
        bot_id: begin-of-thought token id; may lie beyond the tokenizer's vocabulary.
        eot_id: end-of-thought token id.
        cue: what the model writes between its thoughts and the answer; "" if it writes the answer alone. Then
            eot, not the cue, ends its written steps in CoT mode.
        max_answer_tokens: longest answer, cue included.
        max_written_tokens: longest solution in CoT mode.
        question_format: format of a question, with {question} in it.
        begin_ids: before every text (Llama's begin-of-text).
        before_bot: between the question and bot.
        written_ids: between the question and written steps, in CoT mode.
        unwritten_ids: never chosen while answering.
        reference_masking: thoughts and answer see left padding, as in CODI's published code.
    """

    n_thoughts: int
    projection_width: int
    bot_id: int
    eot_id: int
    cue: str = "The answer is:"
    max_answer_tokens: int = 12
    max_written_tokens: int = 64
    question_format: str = "{question}"
    begin_ids: tuple[int, ...] = ()
    before_bot: tuple[int, ...] = ()
    written_ids: tuple[int, ...] = ()
    unwritten_ids: tuple[int, ...] = ()
    reference_masking: bool = False

    def recorded(self) -> dict[str, Any]:
        """The fields as they are hashed and written to `reasoner.json`."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default or field.name in _ALWAYS
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `recorded`.

        Raises:
            ValueError: a field is unknown or missing.
        """
        known = {field.name: field.default for field in fields(cls)}
        unknown = sorted(record.keys() - known.keys())
        missing = sorted(name for name, default in known.items() if default is MISSING and name not in record)
        if unknown or missing:
            raise ValueError(f"unknown fields {unknown}, missing fields {missing}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        return cls(**values)
