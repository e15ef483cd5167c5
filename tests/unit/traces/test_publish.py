from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import load_dataset
from huggingface_hub import DatasetCard

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.traces.store import TraceStore
from tests.tiny import make_tiny_traces


def loaded(folder: Path, tmp_path: Path, split: str = "train") -> dict[str, list[object]]:
    return dict(load_dataset(str(folder), split=split, cache_dir=str(tmp_path / "cache"))[:])


def test_a_saved_store_is_the_same_store_and_a_data_set(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    store = make_tiny_traces(tiny_reasoner, tmp_path / "traces", 7)
    store.save_pretrained(tmp_path / "saved", license="cc0-1.0")
    again = TraceStore.open(tmp_path / "saved", tiny_reasoner)
    assert again.identity == store.identity and again.questions == store.questions
    rows = loaded(tmp_path / "saved", tmp_path)
    assert rows["question"] == store.questions and rows["claims"] == store.claims
    assert rows["correct"] == store.correct
    k, d = tiny_reasoner.n_thoughts, tiny_reasoner.width
    states = np.array(rows["hidden_states"], dtype=np.float32).reshape(7, k + 1, d)
    np.testing.assert_array_equal(states, store.hidden_states.numpy())
    inputs = np.array(rows["latent_inputs"], dtype=np.float32).reshape(7, k, d)
    np.testing.assert_array_equal(inputs, store.latent_inputs.numpy())
    card = DatasetCard.load(tmp_path / "saved/README.md")
    assert card.data.license == "cc0-1.0" and tiny_reasoner.content_hash in card.text
    assert "7 questions" in card.text and f"K = {k} of width {d}" in card.text


def test_some_traces_in_memory_can_be_saved(tiny_traces: TraceStore, tmp_path: Path) -> None:
    some = tiny_traces.select([5, 2])
    some.save_pretrained(tmp_path / "saved")
    assert TraceStore.open(tmp_path / "saved").questions == some.questions
    assert loaded(tmp_path / "saved", tmp_path)["question"] == some.questions


def test_shards_stay_apart(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    store = make_tiny_traces(tiny_reasoner, tmp_path / "traces", 3)
    first, second = store.manifest.shards[0], store.manifest.shards[0].model_copy(update={"rows": 1})
    manifest = store.manifest.model_copy(update={"shards": [first.model_copy(update={"rows": 2}), second]})
    TraceStore(manifest, store.table).save_pretrained(tmp_path / "saved")
    again = TraceStore.open(tmp_path / "saved")
    assert [shard.rows for shard in again.manifest.shards] == [2, 1]
    assert again.questions == store.questions == loaded(tmp_path / "saved", tmp_path)["question"]
