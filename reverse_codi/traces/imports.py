"""Traces from vectors that were collected elsewhere.

They are numbered as in `reverse_codi.reasoners.sites`: hidden state 0 is taken at the begin-of-thought token,
and latent input k is the projection of hidden state k.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reverse_codi.reasoners.base import Reasoner
from reverse_codi.storage.array_files import load_array
from reverse_codi.storage.files import strict_json
from reverse_codi.storage.lock import owned
from reverse_codi.tasks.answers import canonical_plain
from reverse_codi.tasks.corpus import Row, question_signature, read_jsonl
from reverse_codi.traces.store import StoreError, Trace, TraceHeader, TraceStore, TraceWriter

_HEADER_DEFAULTS: dict[str, Any] = {
    "reasoner": "imported",
    "tokenizer_hash": "",
    "recipe_hash": "",
    "seed": 0,
    "split": "imported",
}
_COLUMNS = ("questions", "gold", "claims", "signatures", "outputs", "answers")
_ROW_KEYS = {"question": "questions", "answer": "answers", "signature": "signatures", "output": "outputs"}

Vectors = str | Path | NDArray[Any]

# Traces that are projected at once, and the relative difference that rounding to 16 bits can cause.
_ROWS, _TOLERANCE = 1024, 0.05


def import_arrays(
    path: str | Path, arrays: Mapping[str, Vectors], manifest: Mapping[str, Any], shard_rows: int = 5_000
) -> TraceStore:
    """Make a trace store of vectors that were collected elsewhere.

    Args:
        path: folder of the new store.
        arrays: "hidden_states" [N, K + 1, d] and "latent_inputs" [N, K, d], each an array,
            a .npy or a .npz file.
        manifest: lists of N entries: "questions" and, if known, "gold", "claims", "signatures", "outputs",
            "answers"; and header values: "reasoner_hash" and, if known, "reasoner", "tokenizer_hash",
            "recipe_hash", "seed", "split".
        shard_rows: rows a shard.

    Raises:
        StoreError: a shape, a length or a key does not fit; the message names it.
    """
    known = [*_COLUMNS, "reasoner_hash", *_HEADER_DEFAULTS]
    for key in manifest:
        if key not in known:
            raise StoreError(f"unknown manifest key {key!r}; {_near(key, known)}")
    for key in ("questions", "reasoner_hash"):
        if key not in manifest:
            raise StoreError(f"the manifest has no {key!r}; add it")
    hidden_states, latent_inputs = (
        load_vectors("hidden_states", arrays),
        load_vectors("latent_inputs", arrays),
    )
    n, rows, width = hidden_states.shape
    if latent_inputs.shape != (n, rows - 1, width):
        wanted = (n, rows - 1, width)
        raise StoreError(
            f"hidden states are [N, K + 1, d] = {hidden_states.shape}, so latent inputs must "
            f"be {wanted}, not {latent_inputs.shape}"
        )
    columns = {key: list(manifest[key]) for key in _COLUMNS if manifest.get(key) is not None}
    for key, values in columns.items():
        if len(values) != n:
            raise StoreError(f"{key} has {len(values)} entries for {n} rows of hidden states; give one a row")
    for name, vectors in (("hidden_states", hidden_states), ("latent_inputs", latent_inputs)):
        _check_finite(name, vectors, arrays[name], columns["questions"])
    others = {key: manifest.get(key, default) for key, default in _HEADER_DEFAULTS.items()}
    # Only the same import may continue a store.
    others["recipe_hash"] = others["recipe_hash"] or _identity(columns, hidden_states, latent_inputs)
    header = TraceHeader(reasoner_hash=manifest["reasoner_hash"], n_thoughts=rows - 1, width=width, **others)
    with owned(path, "--out"):
        writer = TraceWriter.open(path, header, n)
        for start in range(writer.rows, n, shard_rows):
            stop = min(start + shard_rows, n)
            writer.append_shard(
                [_trace(columns, hidden_states, latent_inputs, i) for i in range(start, stop)]
            )
    return TraceStore.open(path)


def _check_finite(name: str, vectors: NDArray[Any], source: Vectors, questions: Sequence[str]) -> None:
    """Refuse NaN and infinite numbers before anything is written.

    Raises:
        StoreError: names the file and the row.
    """
    where = f"{source}: " if isinstance(source, str | Path) else ""
    for start in range(0, len(vectors), _ROWS):
        whole = np.isfinite(vectors[start : start + _ROWS]).all(axis=(1, 2))
        if not whole.all():
            row = start + int(np.flatnonzero(~whole)[0])
            raise StoreError(
                f"{where}{name}[{row}] (of {questions[row][:40]!r}) is not finite; leave that row out"
            )


def _identity(columns: Mapping[str, list[Any]], *arrays: NDArray[Any]) -> str:
    """SHA-256 of the whole import."""
    digest = hashlib.sha256(strict_json(columns).encode())
    for vectors in arrays:
        for start in range(0, len(vectors), _ROWS):
            digest.update(np.ascontiguousarray(vectors[start : start + _ROWS]).tobytes())
    return digest.hexdigest()


def load_vectors(name: str, arrays: Mapping[str, Vectors]) -> NDArray[Any]:
    """One of the arrays: an array, a .npy file, or a .npz that holds it under its name or alone.

    Raises:
        StoreError: it is missing, or is not a floating-point array of three dimensions.
    """
    if name not in arrays:
        raise StoreError(
            f"no array {name!r} among {sorted(arrays)}; hidden_states and latent_inputs are needed"
        )
    source = arrays[name]
    if isinstance(source, str | Path):
        file = source

        def choose(names: Sequence[str]) -> str:
            if name not in names and len(names) != 1:
                raise StoreError(f"{file} holds {list(names)}; name one of them {name!r}")
            return name if name in names else names[0]

        source = load_array(file, choose, mapped=True)
    vectors: NDArray[Any] = np.asarray(source)
    if vectors.ndim != 3 or not np.issubdtype(vectors.dtype, np.floating):
        raise StoreError(
            f"{name} is {vectors.dtype}{list(vectors.shape)}; it must be floats [N, rows, width]"
        )
    return vectors


def not_projected(reasoner: Reasoner, arrays: Mapping[str, Vectors]) -> int:
    """Number of the N x K latent inputs that differ from the projection of their hidden states.

    Raises:
        StoreError: an array is missing or invalid, or does not fit this reasoner's thoughts and width.
    """
    hidden_states, latent_inputs = (
        load_vectors("hidden_states", arrays),
        load_vectors("latent_inputs", arrays),
    )
    k, d = reasoner.n_thoughts, reasoner.width
    for name, vectors, wanted in (
        ("hidden_states", hidden_states, (k + 1, d)),
        ("latent_inputs", latent_inputs, (k, d)),
    ):
        if vectors.shape[1:] != wanted:
            raise StoreError(
                f"{name} are {list(vectors.shape)}; the reasoner's are [N, {wanted[0]}, {wanted[1]}]: "
                f"it thinks {k} times in width {d}"
            )
    strange = 0
    for start in range(0, min(len(hidden_states), len(latent_inputs)), _ROWS):
        rows = slice(start, start + _ROWS)
        h, z = (
            torch.from_numpy(np.array(part[rows], dtype=np.float32))
            for part in (hidden_states[:, :-1], latent_inputs)
        )
        gap = (reasoner.project(h) - z).norm(dim=-1) / z.norm(dim=-1).clamp(min=1e-12)  # [B, K]
        strange += int((~(gap <= _TOLERANCE)).sum())
    return strange


def _trace(
    columns: Mapping[str, list[Any]], hidden_states: NDArray[Any], latent_inputs: NDArray[Any], i: int
) -> Trace:
    row = {key: values[i] for key, values in columns.items()}
    gold, answer = (
        text if text is None else canonical_plain(text) for text in (row.get("gold"), row.get("answers"))
    )
    return Trace(
        question=row["questions"],
        signature=row.get("signatures") or question_signature(row["questions"]),
        gold=gold,
        claims=row.get("claims") or [],
        hidden_states=np.asarray(hidden_states[i], dtype=np.float32),
        latent_inputs=np.asarray(latent_inputs[i], dtype=np.float32),
        output=row.get("outputs") or "",
        answer=answer,
        correct=None if gold is None or answer is None else gold == answer,
    )


def columns_of_rows(path: Path) -> dict[str, list[Any]]:
    """Columns of a JSON lines file of {question, gold, claims, signature, output, answer}.

    Only the question is required.

    Raises:
        TaskError: a line is malformed; names file and line.
    """
    rows = list(read_jsonl(path))
    columns: dict[str, list[Any]] = {key: [] for key in _COLUMNS}
    for row in rows:
        row.text("question")
        unknown = [key for key in row.fields if _ROW_KEYS.get(key, key) not in _COLUMNS]
        if unknown:
            raise row.error(
                f"unknown key {unknown[0]!r}; {_near(unknown[0], ['gold', 'claims', *_ROW_KEYS])}"
            )
        _check_types(row)
        fields = {_ROW_KEYS.get(key, key): value for key, value in row.fields.items()}
        for key, values in columns.items():
            values.append(fields.get(key))
    return columns


def _check_types(row: Row) -> None:
    for key, value in row.fields.items():
        texts = value if key == "claims" and isinstance(value, list) else [value]
        if value is not None and not all(isinstance(text, str) for text in texts):
            kind = "a list of strings" if key == "claims" else "a string"
            raise row.error(f"{key!r} is {value!r}; give it {kind}")


def _near(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
