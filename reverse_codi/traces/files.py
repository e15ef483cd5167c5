"""How traces lie on disk: one Arrow stream a shard, and a manifest that lists the shards.

Every file is written under a temporary name, synced and renamed, and the manifest is written after the shard
that it lists. Whenever a run stops, all shards in the manifest are complete. No file holds a time, a host or
a path, so the same traces give the same bytes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from reverse_codi.errors import UserError
from reverse_codi.storage.files import is_plain_name, write_whole
from reverse_codi.utils.shown import brief

MANIFEST = "manifest.json"
MOST_THOUGHTS = 10_000
"""Thoughts of one trace that a store may have."""


def is_store(path: str | Path) -> bool:
    """Whether a folder holds a trace store."""
    return os.path.isfile(Path(path) / MANIFEST)  # also False for a text that is too long for a file name


class StoreError(UserError):
    """A trace store cannot be used; the message names the file or field and what to do."""


@dataclass(frozen=True, eq=False)
class Trace:
    """One question with the reasoner's thoughts and its answer.

    Attributes:
        question: the text that the reasoner got.
        signature: identity of the problem whatever its wording.
        gold: canonical gold answer, None if unknown.
        claims: gold claims in order; empty if unknown.
        hidden_states: [K + 1, d] float32, h0..hK.
        latent_inputs: [K, d] float32, z0..z(K-1).
        output: what the reasoner wrote after its thoughts.
        answer: canonical answer that `output` states, or None.
        correct: whether this is the gold answer; None if that is unknown.
    """

    question: str
    signature: str
    gold: str | None
    claims: list[str]
    hidden_states: NDArray[np.float32]
    latent_inputs: NDArray[np.float32]
    output: str
    answer: str | None
    correct: bool | None


class TraceHeader(BaseModel):
    """The facts that all traces of a store share.

    Attributes:
        reasoner: name of the reasoner, for people.
        reasoner_hash: its `content_hash`.
        tokenizer_hash: its `tokenizer_hash`; "" where it is unknown (imported vectors).
        n_thoughts: K.
        width: d.
        recipe_hash: hash of the recipe that collected the traces; "" without one.
        seed: seed of the questions.
        split: split that the questions come from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reasoner: str
    reasoner_hash: str
    tokenizer_hash: str
    n_thoughts: int = Field(ge=0)
    width: int = Field(ge=1)
    recipe_hash: str
    seed: int
    split: str


class Shard(BaseModel):
    """One file of a store: its name, its number of rows and the SHA-256 of its bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    rows: int = Field(ge=0)
    sha256: str

    @field_validator("file")
    @classmethod
    def _beside_the_manifest(cls, name: str) -> str:
        if not is_plain_name(name):
            raise ValueError(f"{brief(name)} is no name of a file beside the manifest")
        return name


class Manifest(BaseModel):
    """The content of `manifest.json`.

    Attributes:
        schema_version: of this layout.
        header: see `TraceHeader`.
        dtype: of the vectors.
        sites: every site that is stored, h0..hK and z0..z(K-1).
        rows_expected: rows of the finished store.
        rows_written: rows so far.
        shards: the files, in order.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    header: TraceHeader
    dtype: Literal["float32"] = "float32"
    sites: list[str]
    rows_expected: int = Field(ge=0)
    rows_written: int = Field(default=0, ge=0)
    shards: list[Shard] = []

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.sites != _sites(self.header.n_thoughts):
            raise ValueError(f"sites are {brief(self.sites)}, which are not those of the header's thoughts")
        if self.rows_written != sum(shard.rows for shard in self.shards):
            raise ValueError(f"rows_written is {self.rows_written}, which is not the sum of its shards' rows")
        return self

    @classmethod
    def new(cls, header: TraceHeader, total: int) -> Self:
        """The manifest of a store without rows."""
        return cls(header=header, sites=_sites(header.n_thoughts), rows_expected=total)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of a store.

        Raises:
            StoreError: there is none, or it has another version.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise StoreError(f"{folder} holds no trace store: {MANIFEST} is missing; collect traces first")
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            problems = {".".join(map(str, at["loc"])): at for at in error.errors()}
            if "dtype" in problems:
                raise StoreError(
                    f"{folder} holds vectors of dtype {problems['dtype']['input']!r}, not float32: set "
                    "another trace.out, or import them as float32 (reverse-codi trace import)"
                ) from None
            said = "; ".join(f"{name}: {at['msg']}".removeprefix(": ") for name, at in problems.items())
            raise StoreError(f"{path} is no manifest of a trace store: {said}") from None

    def write(self, folder: Path) -> None:
        """Replace the manifest of a store."""
        write_whole(folder / MANIFEST, self.model_dump_json(indent=2).encode() + b"\n")

    def with_shard(self, shard: Shard) -> Self:
        """This manifest with one more shard."""
        rows = self.rows_written + shard.rows
        return self.model_copy(update={"shards": [*self.shards, shard], "rows_written": rows})


def _sites(k: int) -> list[str]:
    """Every site of K thoughts. A manifest may say any K, so it is checked before they are made."""
    if k > MOST_THOUGHTS:
        raise ValueError(f"n_thoughts is {k}; {MOST_THOUGHTS} is the most that a store may have")
    return [f"h{i}" for i in range(k + 1)] + [f"z{i}" for i in range(k)]
