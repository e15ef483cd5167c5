"""Shards of a trace store: traces as Arrow streams, checked as they are read.

A shard's hash says that it is the one that was written, not that a writer elsewhere wrote what its manifest
says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from numpy.typing import NDArray

from reverse_codi.errors import blamed_on
from reverse_codi.traces.files import StoreError, Trace, TraceHeader

# Columns that hold a value in each row.
_NEVER_NULL = ("question", "signature", "claims", "hidden_states", "latent_inputs", "output")


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
    """Map shards into memory as one table.

    Raises:
        StoreError: a file is no shard, or has other columns than the header says.
    """
    with blamed_on(f"{header.n_thoughts} thoughts of width {header.width}", StoreError, "check the manifest"):
        wanted = schema(header)
    return pa.concat_tables([wanted.empty_table(), *(_shard(path, wanted) for path in paths)])


def _shard(path: Path, wanted: pa.Schema) -> pa.Table:
    again = "restore it, or delete the folder and collect anew"
    with blamed_on(path, StoreError, again):
        table = _named(pa.ipc.open_stream(pa.memory_map(str(path))).read_all())
        table.validate(full=True)
    if not table.schema.equals(wanted):
        differ = [
            f"{name} is {found}, not {kind}"
            for name, found, kind in (
                (name, _type(table.schema, name), _type(wanted, name))
                for name in dict.fromkeys([*wanted.names, *table.schema.names])
            )
            if found != kind
        ]
        raise StoreError(f"{path}: {'; '.join(differ) or 'its columns are in another order'}; {again}")
    if null := [name for name in _NEVER_NULL if table[name].null_count]:
        raise StoreError(f"{path}: {', '.join(null)} without a value in some row; {again}")
    return table


def _type(columns: pa.Schema, name: str) -> str:
    return str(columns.field(name).type) if columns.names.count(name) == 1 else "missing"


def _named(table: pa.Table) -> pa.Table:
    """A shard with the columns' names of today; those of version 0.1.0 were `readouts` and `fed`."""
    former = {"readouts": "hidden_states", "fed": "latent_inputs"}
    return table.rename_columns([former.get(name, name) for name in table.column_names])


def vectors_of(table: pa.Table, name: str, rows: int, width: int) -> NDArray[np.float32]:
    """A copy of a vector column, [N, rows, width].

    Raises:
        StoreError: a number is NaN or infinite.
    """
    chunks = [np.asarray(chunk.flatten(), dtype=np.float32) for chunk in table[name].chunks]
    vectors = np.concatenate([np.zeros(0, np.float32), *chunks]).reshape(table.num_rows, rows, width)
    if bad := np.flatnonzero(~np.isfinite(vectors).all(axis=(1, 2))).tolist():
        raise StoreError(f"{name} of trace {bad[0]} is not finite; collect or import the traces anew")
    return vectors
