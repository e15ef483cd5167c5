"""How traces lie on disk: one Arrow stream a shard, and a manifest that lists the shards.

Every file is written under a temporary name, synced and renamed, and the manifest is written after the shard
that it lists. Whenever a run stops, all shards in the manifest are complete. No file holds a time, a host or
a path, so the same traces give the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from reverse_codi.utils.config import UserError
from reverse_codi.utils.files import write_whole

MANIFEST = "manifest.json"


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
    n_thoughts: int
    width: int
    recipe_hash: str
    seed: int
    split: str


class Shard(BaseModel):
    """One file of a store: its name, its number of rows and the SHA-256 of its bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    rows: int
    sha256: str


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
    rows_expected: int
    rows_written: int = 0
    shards: list[Shard] = []

    @classmethod
    def new(cls, header: TraceHeader, total: int) -> Self:
        """The manifest of a store without rows."""
        k = header.n_thoughts
        sites = [f"h{i}" for i in range(k + 1)] + [f"z{i}" for i in range(k)]
        return cls(header=header, sites=sites, rows_expected=total)

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


def schema(header: TraceHeader) -> pa.Schema:
    """Arrow schema of a shard: one column a field of `Trace`; a row's vectors are one flat list."""
    text, k, d = pa.string(), header.n_thoughts, header.width
    return pa.schema(
        {
            "question": text,
            "signature": text,
            "gold": text,
            "claims": pa.list_(text),
            "hidden_states": pa.list_(pa.float32(), (k + 1) * d),
            "latent_inputs": pa.list_(pa.float32(), k * d),
            "output": text,
            "answer": text,
            "correct": pa.bool_(),
        }
    )


def encode(traces: Sequence[Trace], header: TraceHeader) -> pa.Buffer:
    """Turn traces into the bytes of a shard.

    Raises:
        StoreError: a vector is of another shape than the header says, or not finite.
    """
    columns = []
    for field in schema(header):
        values = [getattr(trace, field.name) for trace in traces]
        if field.name in ("hidden_states", "latent_inputs"):
            rows = header.n_thoughts + (field.name == "hidden_states")
            for trace, vectors in zip(traces, values, strict=True):
                _check_vectors(trace, field.name, vectors, (rows, header.width))
            columns.append(_flat_lists(values, field.type))
        else:
            columns.append(pa.array(values, type=field.type))
    return as_stream(pa.Table.from_arrays(columns, schema=schema(header)))


def as_stream(table: pa.Table) -> pa.Buffer:
    """The bytes of a shard of these rows, however they lay in memory."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return sink.getvalue()


def _flat_lists(vectors: list[NDArray[np.float32]], kind: pa.DataType) -> pa.Array:
    if kind.list_size == 0:  # K = 0; pyarrow 26 crashes with a division by zero in from_arrays
        return pa.array([[]] * len(vectors), type=kind)
    flat = np.stack(vectors).astype(np.float32, copy=False).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)


def _check_vectors(trace: Trace, name: str, vectors: NDArray[np.float32], shape: tuple[int, int]) -> None:
    if vectors.shape != shape:
        raise StoreError(
            f"{name} of {trace.question!r} has shape {vectors.shape}, not {shape} (thoughts, width)"
        )
    if not np.isfinite(vectors).all():
        row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        raise StoreError(f"{name}[{row}] of {trace.question!r} is not finite; check the reasoner")


def decode(paths: Sequence[Path], header: TraceHeader) -> pa.Table:
    """Map shards into memory as one table."""
    tables = [_named(pa.ipc.open_stream(pa.memory_map(str(path))).read_all()) for path in paths]
    return pa.concat_tables([schema(header).empty_table(), *tables])


def _named(table: pa.Table) -> pa.Table:
    """A shard with the columns' names of today; those of version 0.1.0 were `readouts` and `fed`."""
    former = {"readouts": "hidden_states", "fed": "latent_inputs"}
    return table.rename_columns([former.get(name, name) for name in table.column_names])


def vectors_of(table: pa.Table, name: str, rows: int, width: int) -> NDArray[np.float32]:
    """A copy of a vector column, [N, rows, width]."""
    chunks = [np.asarray(chunk.flatten(), dtype=np.float32) for chunk in table[name].chunks]
    flat = np.concatenate([np.zeros(0, np.float32), *chunks])
    return flat.reshape(table.num_rows, rows, width)
