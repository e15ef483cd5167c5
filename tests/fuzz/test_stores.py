"""Trace stores: manifests that say anything, and shards that hold anything."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.traces.files import MANIFEST
from reverse_codi.traces.shards import as_stream
from reverse_codi.traces.store import TraceStore
from tests.fuzz.cases import cases, ends_well
from tests.fuzz.damage import changed_file, damaged
from tests.fuzz.folders import Folder
from tests.tiny import make_tiny_traces

N = 3


@pytest.fixture(scope="module")
def store(tiny_reasoner: CodiReasoner, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    root = tmp_path_factory.mktemp("fuzzed")
    make_tiny_traces(tiny_reasoner, root / "whole", N)
    return Folder(root / "whole", root / "copy")


def read(folder: Path) -> TraceStore:
    """A store, with everything that it holds."""
    opened = TraceStore.open(folder)
    assert opened.hidden_states.isfinite().all() and opened.latent_inputs.isfinite().all()
    assert all(isinstance(question, str) for question in opened.questions)
    assert all(isinstance(claim, str) for claims in opened.claims for claim in claims)
    assert [trace.question for trace in (opened[i] for i in range(len(opened)))] == opened.questions
    assert (
        len(opened.outputs) == len(opened.answers) == len(opened.correct) == len(opened.gold) == len(opened)
    )
    return opened


@cases("trace stores")
@given(data=st.data())
def test_a_damaged_store_is_read_or_named(data: st.DataObject, store: Folder) -> None:
    whole = read(store.with_file(MANIFEST, store.whole[MANIFEST]))
    name = data.draw(st.sampled_from(sorted(store.whole)))
    change = changed_file if name == MANIFEST else damaged
    folder = store.with_file(name, data.draw(change(store.whole[name])))
    opened = ends_well(lambda: read(folder), folder)
    if opened is not None:  # what is read is what was written
        assert opened.questions == whole.questions and opened.claims == whole.claims
        assert opened.hidden_states.equal(whole.hidden_states)


@st.composite
def tables(draw: st.DrawFn, table: pa.Table) -> bytes:
    """A shard whose hash will be right: other columns, types, rows or values, or damaged bytes."""
    match draw(st.sampled_from(["type", "null", "out", "named", "nan", "rows", "shape", "bytes"])):
        case "type":
            name = draw(st.sampled_from(table.column_names))
            kind = draw(
                st.sampled_from([pa.string(), pa.int64(), pa.float64(), pa.list_(pa.float32()), pa.null()])
            )
            column = pa.nulls(len(table), kind)
            return bytes(as_stream(table.set_column(table.column_names.index(name), name, column)))
        case "null":
            at = draw(st.integers(0, table.num_columns - 1))
            field = table.schema.field(at)
            return bytes(as_stream(table.set_column(at, field, pa.nulls(len(table), field.type))))
        case "out":
            return bytes(as_stream(table.drop_columns([draw(st.sampled_from(table.column_names))])))
        case "named":
            names = list(table.column_names)
            names[draw(st.integers(0, len(names) - 1))] = draw(st.text(max_size=8))
            return bytes(as_stream(table.rename_columns(names)))
        case "nan":
            kind = table.schema.field("hidden_states").type
            bad = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
            flat = pa.array(np.full(len(table) * kind.list_size, bad, np.float32))
            column = pa.FixedSizeListArray.from_arrays(flat, type=kind)
            return bytes(
                as_stream(
                    table.set_column(table.column_names.index("hidden_states"), "hidden_states", column)
                )
            )
        case "rows":
            return bytes(as_stream(table.slice(0, draw(st.integers(0, len(table) - 1)))))
        case "shape":
            column = pa.array([[0.0] * draw(st.integers(0, 9))] * len(table), pa.list_(pa.float32()))
            return bytes(
                as_stream(
                    table.set_column(table.column_names.index("latent_inputs"), "latent_inputs", column)
                )
            )
        case _:
            return draw(damaged(bytes(as_stream(table))))


@cases("shards")
@given(data=st.data())
def test_a_shard_that_is_no_shard_is_named_though_its_hash_is_right(
    data: st.DataObject, store: Folder
) -> None:
    name = "shard-00000.arrow"
    table = pa.ipc.open_stream(store.whole[name]).read_all()
    shard = data.draw(tables(table))
    manifest = json.loads(store.whole[MANIFEST])
    manifest["shards"][0]["sha256"] = hashlib.sha256(shard).hexdigest()
    folder = store.with_file(name, shard)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    opened = ends_well(lambda: read(folder), folder, "hidden_states", "latent_inputs")
    assert opened is None or len(opened) == N
