"""What a verbalizer was trained with, stored beside its PEFT files as `verbalizer.json`.

Training, sampling and inference build every prompt through `VerbalizerConfig.build_prompt`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reverse_codi.errors import UserError
from reverse_codi.reasoners.plain_text import Filled
from reverse_codi.storage.files import write_whole
from reverse_codi.storage.json_files import read_object
from reverse_codi.utils.config import Section, validated
from reverse_codi.utils.shown import brief

FILE = "verbalizer.json"
MARKER = "{thought}"
SCHEMA = 1


class VerbalizerConfigError(UserError):
    """A verbalizer does not fit what it is used with; the message says which part and what to do."""


def check_template(template: str, n_slots: int) -> None:
    """Refuse a prompt that has no place for its vectors.

    Raises:
        VerbalizerConfigError: `{thought}` stands neither once nor once a slot.
    """
    markers = template.count(MARKER)
    if markers not in (1, n_slots):
        expected = "1" if n_slots == 1 else f"1 or {n_slots}"
        raise VerbalizerConfigError(
            f"template {template!r} has {MARKER} {markers} times; write it {expected} times"
        )


class Injection(Section):
    """How a thought becomes an input vector."""

    norm: float | None = Field(default=None, gt=0, le=1e6)
    """Length that every vector is scaled to; none leaves them as they are."""


class VerbalizerConfig(Section):
    """Everything that must be the same wherever a verbalizer is used."""

    schema_version: int = SCHEMA
    """Version of this file's layout."""
    template: str = MARKER
    """Prompt text; `{thought}` stands once, for all slots side by side, or once a slot. Control tokens in it
    (turns of a chat) are tokens."""
    n_slots: int = Field(default=1, ge=1)
    """S, the vectors in one prompt."""
    injection: Injection = Injection()
    """How vectors enter."""
    n_vocab: int = Field(gt=0)
    """V, the rows of the input embedding."""
    reasoner_hash: str
    """Content hash of the reasoner whose thoughts it reads."""
    tokenizer_hash: str
    """Content hash of the tokenizer."""
    read_spec: dict[str, Any] = Field(default_factory=dict)
    """The ReadSpec that scored its texts, as plain values."""

    @property
    def slot_base(self) -> int:
        """The id of bank row 0."""
        return self.n_vocab

    @model_validator(mode="after")
    def _markers_fit(self) -> Self:
        check_template(self.template, self.n_slots)
        return self

    def build_prompt(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[int]) -> list[int]:
        """Token ids of one prompt; the one place that knows what a prompt looks like.

        Args:
            tokenizer: the reasoner's.
            rows: S bank rows, in slot order; row r becomes id V + r.

        Raises:
            VerbalizerConfigError: not S rows, a negative row, or template text that means ids beyond V.
        """
        if len(rows) != self.n_slots:
            raise VerbalizerConfigError(
                f"{len(rows)} vectors for {self.n_slots} slots; give one bank row a slot"
            )
        if min(rows) < 0:
            raise VerbalizerConfigError(
                f"bank row {min(rows)} is negative; rows count from 0, ids are made here"
            )
        pieces = self.template.split(MARKER)
        slots = [self.slot_base + row for row in rows]
        groups = [[slot] for slot in slots] if len(pieces) - 1 == len(slots) else [slots]
        prompt = Filled(pieces[0]).ids(tokenizer)
        for group, piece in zip(groups, pieces[1:], strict=True):
            prompt += group + Filled(piece).ids(tokenizer)
        found = sum(token >= self.slot_base for token in prompt)
        if found != self.n_slots:
            raise VerbalizerConfigError(
                f"the prompt holds {found} ids beyond the vocabulary of {self.n_vocab}, not {self.n_slots}; "
                f"the tokenizer ({len(tokenizer)} tokens) is not the one of this verbalizer"
            )
        return prompt

    def inject(self, vectors: Tensor) -> Tensor:
        """Vectors [*, d] as they enter the bank: scaled to `injection.norm`, or unchanged.

        Raises:
            VerbalizerConfigError: a vector of length 0 cannot be scaled.
        """
        if self.injection.norm is None:
            return vectors
        lengths = vectors.norm(dim=-1, keepdim=True)  # [*, 1]
        if bool((lengths == 0).any()):
            row = int((lengths.flatten() == 0).nonzero()[0])
            raise VerbalizerConfigError(
                f"vector {row} is zero, which norm {self.injection.norm} cannot scale; drop it"
            )
        return vectors * (self.injection.norm / lengths)

    def save(self, folder: str | Path) -> None:
        """Write `verbalizer.json` whole or not at all."""
        write_whole(Path(folder) / FILE, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path, reasoner_hash: str, tokenizer_hash: str | None = None) -> Self:
        """Read `verbalizer.json`, for use with one reasoner.

        Args:
            folder: holds the PEFT files too.
            reasoner_hash: content hash of the reasoner at hand.
            tokenizer_hash: content hash of the tokenizer at hand; None leaves it unchecked.

        Raises:
            FileNotFoundError: no such file.
            VerbalizerConfigError: another layout, reasoner or tokenizer.
            DamagedError: it is cut, or no JSON.
        """
        file = Path(folder) / FILE
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: {folder} holds no verbalizer")
        values = read_object(file, "restore it from a copy, or train the verbalizer anew")
        version = values.get("schema_version")
        if version != SCHEMA:
            raise VerbalizerConfigError(
                f"{file} has schema version {brief(version)}, this code reads {SCHEMA}; train it again"
            )
        verbalizer_config = validated(cls, _without_former(values), str(file))
        for what, stored, at_hand in (
            ("reasoner", verbalizer_config.reasoner_hash, reasoner_hash),
            ("tokenizer", verbalizer_config.tokenizer_hash, tokenizer_hash),
        ):
            if at_hand is not None and stored != at_hand:
                raise VerbalizerConfigError(
                    f"{file} was trained on the {what} with hash {stored}, the one at hand has {at_hand}; "
                    f"load that {what}, or train a verbalizer on this one"
                )
        return verbalizer_config


def _without_former(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a file without keys of before, where they say what holds of every verbalizer today.

    A begin token was never set, `kind` had one value, and the maps always lay beside the file.
    """
    kept = {key: value for key, value in values.items() if key != "map_file"}
    if kept.get("begin_id", 0) is None:
        del kept["begin_id"]
    injection = kept.get("injection")
    if isinstance(injection, Mapping) and injection.get("kind") == "z":
        kept["injection"] = {key: value for key, value in injection.items() if key != "kind"}
    return kept
