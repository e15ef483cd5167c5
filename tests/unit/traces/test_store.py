"""The store, with a small deterministic reasoner: what is tested is what is kept, not who thinks."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from reverse_codi.cli.trace import import_vectors
from reverse_codi.reasoners.base import Chains, Patch
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.storage.files import TEMPORARY
from reverse_codi.tasks import Arithmetic, Split, TaskError
from reverse_codi.traces.collect import TraceRequest, collect, traces_of
from reverse_codi.traces.files import Manifest
from reverse_codi.traces.imports import import_arrays
from reverse_codi.traces.shards import as_stream, decode
from reverse_codi.traces.store import StoreError, Trace, TraceHeader, TraceStore, TraceWriter
from tests.fakes import FakeReasoner

K, D, N = 3, 8, 20
TASK = Arithmetic()


class HashReasoner(FakeReasoner):
    """Vectors and answers drawn from the hash of each question."""

    n_thoughts, width = K, D
    content_hash, tokenizer_hash = "c" * 64, "t" * 64

    def __init__(self, pause: float = 0.0, stop_after: int | None = None) -> None:
        self.pause, self.stop_after = pause, stop_after
        self.calls = 0

    def think(
        self, questions: Sequence[str], patch: Patch | None = None, n_thoughts: int | None = None
    ) -> Chains:
        if self.calls == self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        time.sleep(self.pause)
        hidden_states, latent_inputs = (
            torch.empty(len(questions), K + 1, D),
            torch.empty(len(questions), K, D),
        )
        outputs = []
        for i, question in enumerate(questions):
            seed = int.from_bytes(hashlib.sha256(question.encode()).digest()[:7], "big")
            generator = torch.Generator().manual_seed(seed)
            hidden_states[i] = torch.randn(K + 1, D, generator=generator)
            latent_inputs[i] = torch.randn(K, D, generator=generator)
            outputs.append("I do not know" if seed % 5 == 0 else f"The answer is: {seed % 60}")
        return Chains(hidden_states, latent_inputs, outputs)


def collected(out: Path, reasoner: HashReasoner | None = None, **changes: Any) -> TraceStore:
    settings: dict[str, Any] = {
        "split": Split.TRAIN,
        "n": N,
        "seed": 0,
        "shard_rows": 4,
        "batch_size": 3,
        "recipe_hash": "r",
    }
    return collect(reasoner or HashReasoner(), TASK, TraceRequest(out=out, **{**settings, **changes}))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "store"
    collected(out)
    return out


@pytest.fixture(scope="module")
def store(whole: Path) -> TraceStore:
    return TraceStore.open(whole)


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    out = tmp_path / "copy"
    out.mkdir()
    for name, data in contents(whole).items():
        (out / name).write_bytes(data)
    return out


# ---- what comes back


def test_what_is_stored_is_what_was_thought(store: TraceStore) -> None:
    problems = TASK.problems(Split.TRAIN, N, 0)
    chains = HashReasoner().think([problem.question for problem in problems])
    assert len(store) == N and store.complete
    assert torch.equal(store.hidden_states, chains.hidden_states) and torch.equal(
        store.latent_inputs, chains.latent_inputs
    )
    assert store.hidden_states.dtype == torch.float32 and store.hidden_states.shape == (N, K + 1, D)
    assert store.questions == [problem.question for problem in problems]
    assert store.signatures == [problem.signature for problem in problems]
    assert store.claims == [problem.claims for problem in problems]
    assert store.gold == [problem.answer for problem in problems]
    assert store.answers == [TASK.extract_answer(output) for output in chains.outputs]
    assert None in store.answers
    assert store.correct == [a == g for a, g in zip(store.answers, store.gold, strict=True)]


def test_a_site_picks_its_vectors(store: TraceStore) -> None:
    assert torch.equal(store.vectors(Site("h", 3)), store.hidden_states[:, 3])
    assert torch.equal(store.vectors(Site("z", 0)), store.latent_inputs[:, 0])
    for text in ("h4", "z3", "h2@1"):
        with pytest.raises(StoreError, match=f"site {text} is not stored; choose from: h0, h1, h2, h3, z0"):
            store.vectors(Site.parse(text))


def test_the_answer_site_is_computed_and_goes_with_its_traces(
    tiny_reasoner: CodiReasoner, tiny_traces: TraceStore
) -> None:
    with pytest.raises(StoreError, match=r"with_answer_states"):
        tiny_traces.vectors(ANSWER)
    some = tiny_traces.select([3, 1]).with_answer_states(tiny_reasoner)
    torch.testing.assert_close(some.vectors(ANSWER), tiny_reasoner.answer_states(some.questions))
    assert torch.equal(some.select([-1]).vectors(ANSWER), some.vectors(ANSWER)[1:])


def test_the_answer_site_follows_the_stored_thoughts(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    k, d = tiny_reasoner.n_thoughts, tiny_reasoner.width
    noise = np.random.default_rng(0)
    arrays = {
        "hidden_states": noise.normal(size=(2, k + 1, d)),
        "latent_inputs": noise.normal(size=(2, k, d)),
    }
    questions = [problem.question for problem in TASK.problems(Split.TRAIN, 2, 0)]
    store = import_arrays(tmp_path, arrays, {"questions": questions, "reasoner_hash": "x"})
    states = store.with_answer_states(tiny_reasoner).vectors(ANSWER)
    assert torch.equal(states, tiny_reasoner.answer_states(questions, Patch.all(store.latent_inputs)))
    assert (states - tiny_reasoner.answer_states(questions)).norm() > 0.01


def test_traces_of_another_shape_are_refused(whole: Path) -> None:
    reasoner = HashReasoner()
    reasoner.n_thoughts = K + 1
    with pytest.raises(
        StoreError, match=f"holds {K} thoughts of width {D}, its reasoner has {K + 1} of width"
    ):
        TraceStore.open(whole, reasoner)


def test_one_trace(store: TraceStore) -> None:
    trace = store[7]
    assert (trace.question, trace.claims, trace.gold) == (store.questions[7], store.claims[7], store.gold[7])
    assert trace.hidden_states.dtype == np.float32 and trace.hidden_states.shape == (K + 1, D)
    assert np.array_equal(trace.latent_inputs, store.latent_inputs[7].numpy())
    assert store[-1].question == store.questions[-1]
    with pytest.raises(IndexError):
        store[N]
    assert sum(1 for _ in store) == N


def test_select_keeps_the_order_given(store: TraceStore) -> None:
    some = store.select([11, 2, 2, -1])
    assert some.questions == [store.questions[i] for i in (11, 2, 2, -1)]
    assert torch.equal(some.hidden_states, store.hidden_states[[11, 2, 2, -1]])
    assert torch.equal(some.select([0]).vectors(Site("z", 1)), store.latent_inputs[[11], 1])
    assert torch.equal(store.select(torch.tensor([3])).latent_inputs, store.latent_inputs[[3]])
    assert len(store.select([])) == 0 and store.select([]).hidden_states.shape == (0, K + 1, D)
    with pytest.raises(IndexError):
        store.select([N])


def test_changing_a_tensor_leaves_the_disk_alone(whole: Path) -> None:
    before = contents(whole)
    opened = TraceStore.open(whole)
    opened.hidden_states.zero_()
    assert contents(whole) == before and bool(TraceStore.open(whole).hidden_states.any())


def test_datasets_reads_the_shards(whole: Path, store: TraceStore) -> None:
    import datasets

    paths = [str(path) for path in sorted(whole.glob("*.arrow"))]
    rows = datasets.concatenate_datasets([datasets.Dataset.from_file(path) for path in paths])
    assert rows["question"][:] == store.questions
    read = torch.tensor(np.asarray(rows.with_format("numpy")["latent_inputs"][:])).reshape(N, K, D)
    assert torch.equal(read, store.latent_inputs)


def test_the_manifest_says_what_it_holds(whole: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["schema_version"] == 1 and manifest["dtype"] == "float32"
    assert manifest["sites"] == ["h0", "h1", "h2", "h3", "z0", "z1", "z2"]
    assert manifest["header"] == {
        "reasoner": "HashReasoner",
        "reasoner_hash": "c" * 64,
        "tokenizer_hash": "t" * 64,
        "n_thoughts": K,
        "width": D,
        "recipe_hash": "r",
        "seed": 0,
        "split": "train",
    }
    assert manifest["rows_expected"] == manifest["rows_written"] == N
    assert [shard["rows"] for shard in manifest["shards"]] == [4] * 5
    first = manifest["shards"][0]
    assert first["sha256"] == hashlib.sha256((whole / first["file"]).read_bytes()).hexdigest()


def test_a_reasoner_that_does_not_think(tmp_path: Path) -> None:
    header = TraceHeader(
        reasoner="x",
        reasoner_hash="",
        tokenizer_hash="",
        n_thoughts=0,
        width=2,
        recipe_hash="",
        seed=0,
        split="s",
    )
    empty = np.zeros((0, 2), np.float32)
    trace = Trace("Q", "s", None, [], np.ones((1, 2), np.float32), empty, "", None, None)
    TraceWriter.open(tmp_path, header, 2).append_shard([trace, trace])
    opened = TraceStore.open(tmp_path)
    assert opened.hidden_states.shape == (2, 1, 2) and opened.latent_inputs.shape == (2, 0, 2)
    assert opened[1].latent_inputs.shape == (0, 2) and opened[0].gold is None and opened[0].correct is None


# ---- stopping and going on


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path: Path, whole: Path) -> None:
    for stop_after in (0, 1, 3, 5):  # two calls a shard
        with pytest.raises(KeyboardInterrupt):
            collected(tmp_path, HashReasoner(stop_after=stop_after))
    partial = TraceStore.open(tmp_path, HashReasoner())
    assert 0 < len(partial) < N and not partial.complete
    assert partial.questions == TraceStore.open(whole).questions[: len(partial)]
    reasoner = HashReasoner()
    collected(tmp_path, reasoner)
    assert reasoner.calls == 2 * (N - len(partial)) // 4
    assert contents(tmp_path) == contents(whole)


def test_a_finished_store_is_not_collected_again(copy: Path) -> None:
    reasoner = HashReasoner()
    assert len(collected(copy, reasoner)) == N
    assert reasoner.calls == 0


@pytest.mark.long
def test_a_killed_process_leaves_a_store_that_goes_on(tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "store"
    root = str(Path(__file__).parents[3])
    process = subprocess.Popen([sys.executable, __file__, str(out)], env={**os.environ, "PYTHONPATH": root})
    deadline = time.monotonic() + 240  # far more than it takes, for machines under load
    while len(list(out.glob("*.arrow"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    partial = TraceStore.open(out)
    assert 0 < len(partial) < N
    assert torch.equal(partial.hidden_states, TraceStore.open(whole).hidden_states[: len(partial)])
    collected(out)
    assert contents(out) == contents(whole)


def test_whatever_a_kill_leaves_half_written_is_ignored_and_replaced(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        collected(tmp_path, HashReasoner(stop_after=4))
    # Killed while writing the third shard, between its rename and the manifest, or while writing that.
    (tmp_path / "shard-00002.arrow").write_bytes(b"renamed, not listed")
    (tmp_path / "shard-00003.arrow.tmp").write_bytes(b"half")
    (tmp_path / "manifest.json.tmp").write_bytes(b"{")
    assert len(TraceStore.open(tmp_path)) == 8
    collected(tmp_path)
    assert contents(tmp_path) == contents(whole)


class FullDisk:
    """A file that takes half of what it is given, then has no room."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, data: Any) -> None:
        self.file.write(bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("file", "time_written", "rows"), [("shard-00002.arrow", 1, 8), ("manifest.json", 3, 4)]
)
def test_a_full_disk_leaves_a_store_that_goes_on(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, file: str, time_written: int, rows: int
) -> None:
    really_open, written = Path.open, []

    def open_until_full(path: Path, mode: str = "r") -> Any:
        opened = really_open(path, mode)
        if path.suffix == TEMPORARY:
            written.append(path.name.rsplit(".", 2)[0])
        is_full = fnmatch(path.name, f"{file}.*tmp") and written.count(file) == time_written
        return FullDisk(opened) if is_full else opened

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_until_full)
        with pytest.raises(
            OSError, match=rf"{file} cannot be written: No space left.*command again"
        ) as error:
            collected(tmp_path)
    assert error.value.errno == errno.ENOSPC
    assert not list(tmp_path.glob("*.tmp"))
    assert len(TraceStore.open(tmp_path)) == rows
    collected(tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_columns_of_version_0_1_are_read_under_their_names_of_today(whole: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(whole)
    shard = whole / manifest.shards[0].file
    table = pa.ipc.open_stream(shard.read_bytes()).read_all()
    former = {"hidden_states": "readouts", "latent_inputs": "fed"}
    old = table.rename_columns([former.get(name, name) for name in table.column_names])
    with pa.OSFile(str(tmp_path / "old.arrow"), "wb") as sink, pa.ipc.new_stream(sink, old.schema) as stream:
        stream.write_table(old)
    assert "fed" in old.column_names
    assert decode([tmp_path / "old.arrow"], manifest.header).equals(decode([shard], manifest.header))


# ---- refusals


@pytest.mark.parametrize("name", ["content_hash", "tokenizer_hash"])
def test_another_reasoner_is_refused_with_both_hashes(whole: Path, name: str) -> None:
    reasoner = HashReasoner()
    assert len(TraceStore.open(whole, reasoner)) == N
    setattr(reasoner, name, "f" * 64)
    with pytest.raises(StoreError) as error:
        TraceStore.open(whole, reasoner)
    assert getattr(HashReasoner, name) in str(error.value) and "f" * 64 in str(error.value)


def test_missing_and_corrupt_shards_are_named(copy: Path) -> None:
    (copy / "shard-00001.arrow").unlink()
    corrupt = copy / "shard-00003.arrow"
    corrupt.write_bytes(corrupt.read_bytes()[:-1] + b"\xff")
    for use in (TraceStore.open, collected):
        with pytest.raises(StoreError, match=r"shard-00001.arrow is missing; shard-00003.arrow is corrupt"):
            use(copy)


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", '{"schema_version": 2}'])
def test_a_broken_manifest_is_named(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"manifest\.json"):
        TraceStore.open(copy)


def test_a_folder_without_a_store(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"manifest\.json is missing"):
        TraceStore.open(tmp_path / "nothing")
    (copy / "manifest.json").unlink()
    with pytest.raises(StoreError, match="holds shards but no manifest"):
        collected(copy)


def test_answers_read_by_other_rules_are_refused(tmp_path: Path) -> None:
    class Terse(HashReasoner):
        def think(
            self, questions: Sequence[str], patch: Patch | None = None, n_thoughts: int | None = None
        ) -> Chains:
            chains = super().think(questions, patch)
            return Chains(chains.hidden_states, chains.latent_inputs, ["7"] * len(questions))

    reasoner = Terse()
    collected(tmp_path / "store", reasoner)
    reasoner.answer_cue = ""  # as if this version knew that the answers stand alone
    with pytest.raises(StoreError, match=r"store: trace 0 has answer None and gold '\d+', which are '7' and"):
        collected(tmp_path / "store", reasoner)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed is 0 there, 1 here"),
        ({"n": 30}, "rows_expected is 20 there, 30 here"),
        ({"split": Split.HELDOUT}, "split is 'train' there, 'heldout' here"),
        ({"recipe_hash": "q"}, "recipe_hash is 'r' there, 'q' here"),
    ],
)
def test_other_traces_are_not_mixed_in(copy: Path, changes: dict[str, Any], named: str) -> None:
    before = contents(copy)
    with pytest.raises(StoreError, match=named):
        collected(copy, **changes)
    assert contents(copy) == before


def test_bad_vectors_are_refused_by_question(tmp_path: Path) -> None:
    good, bad = traces_of(HashReasoner(), TASK, TASK.problems(Split.TRAIN, 2, 0))
    writer = TraceWriter.open(tmp_path, TraceStore.open(_one(tmp_path / "o", good)).manifest.header, 2)
    bad.latent_inputs[1, 0] = np.nan
    with pytest.raises(StoreError, match=r"latent_inputs\[1\] of .* is not finite") as error:
        writer.append_shard([good, bad])
    assert repr(bad.question) in str(error.value)
    short = Trace(**{**vars(good), "hidden_states": good.hidden_states[:-1]})
    with pytest.raises(StoreError, match=r"hidden_states of .* has shape \(3, 8\), not \(4, 8\)"):
        writer.append_shard([short])
    with pytest.raises(StoreError, match="3 rows, but 2 were announced"):
        writer.append_shard([good, good, good])
    with pytest.raises(StoreError, match="at least one"):
        writer.append_shard([])
    assert len(TraceStore.open(tmp_path)) == 0


def _one(path: Path, trace: Trace) -> Path:
    np.save(path.parent / "h.npy", trace.hidden_states[None])
    np.save(path.parent / "z.npy", trace.latent_inputs[None])
    arrays = {"hidden_states": path.parent / "h.npy", "latent_inputs": path.parent / "z.npy"}
    import_arrays(path, arrays, {"questions": [trace.question], "reasoner_hash": "x"})
    return path


# ---- vectors from elsewhere


@pytest.fixture
def arrays() -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    yield {
        "hidden_states": rng.normal(size=(5, K + 1, D)),
        "latent_inputs": rng.normal(size=(5, K, D)).astype(np.float16),
    }


QUESTIONS = {"questions": [f"Q{i}?" for i in range(5)], "reasoner_hash": "c" * 64}


@pytest.mark.parametrize("form", ["array", "npy", "npz", "one npz"])
def test_import_arrays(tmp_path: Path, arrays: dict[str, Any], form: str) -> None:
    given = dict(arrays)
    if form == "npy":
        for name, array in arrays.items():
            given[name] = tmp_path / f"{name}.npy"
            np.save(given[name], array)
    elif form == "npz":
        for name, array in arrays.items():
            given[name] = str(tmp_path / f"{name}.npz")
            np.savez(given[name], vectors=array)
    elif form == "one npz":
        given = dict.fromkeys(arrays, tmp_path / "both.npz")
        np.savez(tmp_path / "both.npz", **arrays)
    manifest = {**QUESTIONS, "gold": ["1", "2", None, "4", "5"], "answers": ["1", "3", "3", None, "5"]}
    store = import_arrays(tmp_path / "out", given, manifest, shard_rows=2)
    assert [shard.rows for shard in store.manifest.shards] == [2, 2, 1]
    assert torch.equal(store.hidden_states, torch.tensor(arrays["hidden_states"], dtype=torch.float32))
    assert torch.equal(store.latent_inputs, torch.tensor(arrays["latent_inputs"], dtype=torch.float32))
    assert store.correct == [True, False, None, None, True]
    assert store.claims == [[]] * 5 and len(set(store.signatures)) == 5
    TraceStore.open(tmp_path / "out", HashReasoner())  # an unknown tokenizer hash is not compared


def test_imported_answers_are_compared_in_one_spelling(tmp_path: Path, arrays: dict[str, Any]) -> None:
    manifest = {
        **QUESTIONS,
        "gold": ["1,080", "64.39999999999999", "1e16", "Tom is a lempus.", "1/2"],
        "answers": ["$1080.00", "64.4", "10000000000000000", "Tom is a  lempus", "2"],
    }
    store = import_arrays(tmp_path / "out", arrays, manifest)
    assert store.correct == [True, True, True, True, False]
    assert store.gold == ["1080", "64.4", "10000000000000000", "Tom is a lempus", "0.5"]


@pytest.mark.parametrize(
    ("changes", "manifest", "named"),
    [
        (
            {"latent_inputs": np.zeros((5, K + 1, D))},
            {},
            r"latent inputs must be \(5, 3, 8\), not \(5, 4, 8\)",
        ),
        ({"latent_inputs": np.zeros((5, K, 9))}, {}, r"latent inputs must be \(5, 3, 8\), not \(5, 3, 9\)"),
        ({"hidden_states": np.zeros((5, D))}, {}, r"hidden_states is float64\[5, 8\]"),
        ({"hidden_states": np.zeros((5, K + 1, D), int)}, {}, r"hidden_states is int64\[5, 4, 8\]"),
        ({}, {"questions": ["Q"]}, "questions has 1 entries for 5 rows"),
        ({}, {"gold": ["1"]}, "gold has 1 entries for 5 rows"),
        ({}, {"golds": ["1"]}, "unknown manifest key 'golds'; did you mean 'gold'"),
    ],
)
def test_misfits_are_named(
    tmp_path: Path, arrays: dict[str, Any], changes: dict[str, Any], manifest: dict[str, Any], named: str
) -> None:
    with pytest.raises(StoreError, match=named):
        import_arrays(tmp_path / "out", {**arrays, **changes}, {**QUESTIONS, **manifest})
    assert not (tmp_path / "out").exists()


def test_missing_arrays_and_keys_are_named(tmp_path: Path, arrays: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="no array 'latent_inputs'"):
        import_arrays(tmp_path / "out", {"hidden_states": arrays["hidden_states"]}, QUESTIONS)
    with pytest.raises(StoreError, match="no 'reasoner_hash'"):
        import_arrays(tmp_path / "out", arrays, {"questions": QUESTIONS["questions"]})


def import_command(folder: Path, arrays: dict[str, Any], rows: str) -> list[str]:
    np.save(folder / "h.npy", arrays["hidden_states"])
    np.save(folder / "z.npy", arrays["latent_inputs"])
    (folder / "rows.jsonl").write_text(rows)
    files = [
        "--hidden-states",
        str(folder / "h.npy"),
        "--latent-inputs",
        str(folder / "z.npy"),
        "--rows",
        str(folder / "rows.jsonl"),
    ]
    return [*files, "--reasoner-hash", "c" * 64, "--out", str(folder / "out")]


def test_the_import_command(tmp_path: Path, arrays: dict[str, Any]) -> None:
    rows = [{"question": f"Q{i}?", "gold": str(i), "claims": ["1 + 1 = 2"]} for i in range(4)]
    text = "".join(json.dumps(row) + "\n" for row in [*rows, {"question": "last", "answer": "3"}])
    import_vectors(import_command(tmp_path, arrays, text))
    store = TraceStore.open(tmp_path / "out")
    assert store.questions[-1] == "last" and store.gold == ["0", "1", "2", "3", None]
    assert store.claims == [["1 + 1 = 2"]] * 4 + [[]]
    assert torch.equal(store.latent_inputs, torch.tensor(arrays["latent_inputs"], dtype=torch.float32))


def test_a_finished_import_is_no_other_import(tmp_path: Path, arrays: dict[str, Any]) -> None:
    """The second one used to report success and keep the first one's vectors."""
    first = import_arrays(tmp_path, arrays, QUESTIONS)
    assert len(import_arrays(tmp_path, arrays, QUESTIONS)) == len(first)  # the same again is done
    others = {"hidden_states": arrays["hidden_states"] + 1, "latent_inputs": arrays["latent_inputs"]}
    renamed = {**QUESTIONS, "questions": [f"Who {i}?" for i in range(5)]}
    for given, manifest in ((others, QUESTIONS), (arrays, renamed)):
        with pytest.raises(StoreError, match=r"holds other traces: recipe_hash is .* there, .* here"):
            import_arrays(tmp_path, given, manifest)


def test_an_import_that_is_refused_leaves_nothing_and_names_the_file(
    tmp_path: Path, arrays: dict[str, Any]
) -> None:
    arrays["hidden_states"][3, 1, 0] = np.inf
    np.save(tmp_path / "h.npy", arrays["hidden_states"])
    given = {"hidden_states": tmp_path / "h.npy", "latent_inputs": arrays["latent_inputs"]}
    with pytest.raises(StoreError, match=r"h\.npy: hidden_states\[3\] \(of 'Q3\?'\) is not finite; leave"):
        import_arrays(tmp_path / "out", given, QUESTIONS)
    assert not (tmp_path / "out").exists()


def test_files_of_others_stay(tmp_path: Path, arrays: dict[str, Any]) -> None:
    (tmp_path / "my_notes.tmp").write_text("precious")
    import_arrays(tmp_path, arrays, QUESTIONS)
    import_arrays(tmp_path, arrays, QUESTIONS)
    assert (tmp_path / "my_notes.tmp").read_text() == "precious"


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ('{"gold": "1"}', "question"),
        ('{"question": "Q", "glod": "1"}', "gold"),
        ('{"question": "Q", "gold": 1}', "gold"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, arrays: dict[str, Any], row: str, named: str) -> None:
    with pytest.raises(TaskError, match=rf"rows\.jsonl:2: .*{named}"):
        import_vectors(import_command(tmp_path, arrays, '{"question": "Q"}\n' + row))


if __name__ == "__main__":  # the process that test_a_killed_process_... kills
    collected(Path(sys.argv[1]), HashReasoner(pause=0.1))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rows_written": 19}, "rows_written is 19, which is not the sum"),
        ({"sites": ["h0"]}, r"sites are \['h0'\]"),
        ({"rows_expected": -1}, "rows_expected"),
        ({"header": {"n_thoughts": 10**12}}, "n_thoughts is 1000000000000; 10000 is the most"),
        ({"header": {"width": 0}}, "header.width"),
    ],
)
def test_a_manifest_that_does_not_agree_with_itself_is_named(
    copy: Path, values: dict[str, Any], said: str
) -> None:
    file = copy / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["header"] |= values.pop("header", {})
    file.write_text(json.dumps(manifest | values))
    with pytest.raises(StoreError, match=said):
        TraceStore.open(copy)


def rewritten(copy: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    """A store whose first shard is another one, with the right hash."""
    manifest = json.loads((copy / "manifest.json").read_text())
    shard = copy / manifest["shards"][0]["file"]
    data = bytes(as_stream(change(pa.ipc.open_stream(shard.read_bytes()).read_all())))
    shard.unlink()
    shard.write_bytes(data)
    manifest["shards"][0]["sha256"] = hashlib.sha256(data).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def test_a_shard_of_other_columns_is_named_though_its_hash_is_right(copy: Path) -> None:
    with pytest.raises(StoreError, match=r"shard-00000\.arrow: question is missing, not string"):
        TraceStore.open(rewritten(copy, lambda table: table.drop_columns(["question"])))


def test_a_shard_with_a_question_left_out_is_named(copy: Path) -> None:
    with pytest.raises(StoreError, match=r"shard-00000\.arrow: question without a value in some row"):
        TraceStore.open(
            rewritten(copy, lambda table: table.set_column(0, "question", pa.nulls(len(table), pa.string())))
        )


def test_a_shard_of_fewer_rows_is_named(copy: Path) -> None:
    with pytest.raises(StoreError, match=rf"the shards hold {N - 1} traces, manifest.json says {N}"):
        TraceStore.open(rewritten(copy, lambda table: table.slice(1)))


def test_vectors_that_are_not_finite_are_named_when_they_are_read(copy: Path) -> None:
    def with_nan(table: pa.Table) -> pa.Table:
        kind = table.schema.field("latent_inputs").type
        flat = np.ones(len(table) * kind.list_size, np.float32)
        flat[kind.list_size] = np.nan  # the first number of row 1
        column = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)
        return table.set_column(table.column_names.index("latent_inputs"), "latent_inputs", column)

    store = TraceStore.open(rewritten(copy, with_nan))
    with pytest.raises(StoreError, match="latent_inputs of trace 1 is not finite"):
        _ = store.latent_inputs
    assert store.hidden_states.isfinite().all()
