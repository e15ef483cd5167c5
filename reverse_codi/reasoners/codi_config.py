"""The configuration of a CODI or Coconut reasoner beyond its language model, and its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Self

from reverse_codi.utils.shown import brief

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

# The least value of each whole number; thoughts and texts of more than `_MOST` are a damaged file's.
_LEAST = {
    "n_thoughts": 0,
    "projection_width": 0,
    "bot_id": 0,
    "eot_id": 0,
    "max_answer_tokens": 1,
    "max_written_tokens": 1,
}
_MOST = 10_000_000


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
            ValueError: a field is unknown or missing, of another type, or out of range.
        """
        known = {field.name: field.default for field in fields(cls)}
        unknown = sorted(record.keys() - known.keys())
        missing = sorted(name for name, default in known.items() if default is MISSING and name not in record)
        if unknown or missing:
            raise ValueError(f"unknown fields {unknown}, missing fields {missing}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        for name, value in values.items():
            if fault := _fault(name, value):
                raise ValueError(f"{name} is {brief(record[name])}; {fault}")
        return cls(**values)

    @property
    def ids(self) -> list[int]:
        """Every token id that it names."""
        named = self.begin_ids + self.before_bot + self.written_ids + self.unwritten_ids
        return [self.bot_id, self.eot_id, *named]


def _fault(name: str, value: object) -> str | None:
    """What is wrong with the value of a field that a file gives; None if it is of its type and in range."""
    if name in _LEAST:
        least = _LEAST[name]
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= _MOST
        return None if fits else f"give a whole number from {least} to {_MOST}"
    if name in ("cue", "question_format"):
        if not isinstance(value, str):
            return "give a text"
        return "write {question} in it" if name == "question_format" and "{question}" not in value else None
    if name == "reference_masking":
        return None if isinstance(value, bool) else "give true or false"
    ids = value if isinstance(value, tuple) else None
    whole = ids is not None and all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids)
    return None if whole else "give a list of token ids"
