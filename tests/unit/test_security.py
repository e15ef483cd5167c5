"""What a file from elsewhere cannot do: run code, or make this machine read other files than its own."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from reverse_codi.errors import UserError
from reverse_codi.reading.language_model import LanguageModel
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.checkpoints.files import weight_files
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.pretrained import load_base
from reverse_codi.reasoners.huginn.checkpoint import tensor_files
from reverse_codi.reasoners.load import load_reasoner, open_reasoner
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.storage import hub
from reverse_codi.traces.imports import import_arrays
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.publishing.folder import reasoner_source
from reverse_codi.verbalize.questions import read_questions
from reverse_codi.verbalize.translations.vectors import read_vectors
from reverse_codi.verbalize.verbalizer import Verbalizer
from tests.bases import make_base
from tests.tiny import make_tiny_traces
from tests.unit.reasoners.conformance.layouts import make_coconut, make_codi_gpt2, make_codi_llama

ROOT = Path(__file__).parents[2]


class Planted:
    """Unpickled, it writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return open, (str(self.marker), "w")


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that is there afterwards if code ran; nobody is asked at the terminal either."""

    def asked(*_: object) -> str:
        raise AssertionError("asked at the terminal")

    monkeypatch.setattr("builtins.input", asked)
    place = tmp_path / "code-ran"
    yield place
    assert not place.exists()


def torch_pickle(marker: Path) -> bytes:
    """A torch file with tensors and something else beside them."""
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(2), "extra": Planted(marker)}, buffer)
    return buffer.getvalue()


def refused(work: Callable[[], object], named: Path | str) -> None:
    with pytest.raises(UserError) as told:
        work()
    assert str(named) in str(told.value), told.value


def test_a_plant_works(tmp_path: Path) -> None:
    """Else none of the tests below would prove anything."""
    place = tmp_path / "proof"
    pickle.loads(pickle.dumps(Planted(place)))
    assert place.is_file()


# ---- pickles


@pytest.mark.parametrize("make", [pickle.dumps, None])
def test_weights_that_are_pickles_run_nothing(
    make: Callable[[Any], bytes] | None, tmp_path: Path, marker: Path
) -> None:
    plant = torch_pickle(marker) if make is None else make(Planted(marker))
    for number, layout in enumerate((make_codi_gpt2, make_coconut)):
        case = layout(tmp_path / str(number))
        case.file.write_bytes(plant)
        refused(lambda case=case: load_reasoner(case.source), case.file)


@pytest.mark.parametrize("name", ["model.safetensors", "projection.safetensors", "pytorch_model.bin"])
def test_own_files_that_are_pickles_run_nothing(
    name: str, tiny_folders: tuple[Path, Path], tmp_path: Path, marker: Path
) -> None:
    folder = tmp_path / "reasoner"
    shutil.copytree(tiny_folders[0], folder)
    if name.endswith(".bin"):
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(torch_pickle(marker))
    refused(lambda: load_reasoner(str(folder)), folder)


def test_an_adapter_that_is_a_pickle_runs_nothing(
    tiny_verbalizer: Path, tiny_folders: tuple[Path, Path], tmp_path: Path, marker: Path
) -> None:
    folder = tmp_path / "verbalizer"
    shutil.copytree(tiny_verbalizer, folder)
    reasoner = CodiReasoner.from_pretrained(tiny_folders[0])
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(torch_pickle(marker))
    refused(lambda: Verbalizer.from_pretrained(folder, reasoner), folder)
    weights.unlink()
    (folder / "adapter_model.bin").write_bytes(torch_pickle(marker))
    with pytest.raises(UserError, match=r"adapter_model\.safetensors is missing"):
        Verbalizer.from_pretrained(folder, reasoner)
    shutil.copy(tiny_verbalizer / "adapter_model.safetensors", weights)
    (folder / "maps.safetensors").write_bytes(pickle.dumps(Planted(marker)))
    refused(lambda: ThoughtMetric.load(folder, reasoner), folder)


def test_a_base_and_a_judge_that_are_pickles_run_nothing(tmp_path: Path, marker: Path) -> None:
    make_base(tmp_path / "base")
    (tmp_path / "base/model.safetensors").unlink()
    (tmp_path / "base/pytorch_model.bin").write_bytes(torch_pickle(marker))
    refused(lambda: load_base(str(tmp_path / "base")), "base")
    refused(lambda: LanguageModel.load(str(tmp_path / "base")), "base")


def test_arrays_that_are_pickles_run_nothing(tmp_path: Path, marker: Path) -> None:
    np.save(tmp_path / "z.npy", np.array([Planted(marker)], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "z.npz", vectors=np.array([Planted(marker)], dtype=object))
    for name in ("z.npy", "z.npz"):
        refused(lambda name=name: read_vectors(tmp_path / name, ["z0.."]), name)
        arrays = {"hidden_states": tmp_path / name, "latent_inputs": tmp_path / name}
        manifest = {"questions": ["q"], "reasoner_hash": "x"}
        refused(lambda a=arrays, m=manifest: import_arrays(tmp_path / "store", a, m), name)
    for name in ("z.safetensors", "z.parquet"):
        (tmp_path / name).write_bytes(pickle.dumps(Planted(marker)))
        refused(lambda name=name: read_vectors(tmp_path / name, ["z0.."]), name)


def typed_by_a_pickle(marker: Path) -> pa.Field:
    """A column whose type an old pyarrow would have unpickled (CVE-2023-47248)."""
    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Planted(marker)),
    }
    return pa.field("question", pa.string(), metadata=metadata)


def test_columns_typed_by_a_pickle_run_nothing(
    tiny_reasoner: CodiReasoner, tmp_path: Path, marker: Path
) -> None:
    table = pa.table([pa.array(["Ann has 12."])], schema=pa.schema([typed_by_a_pickle(marker)]))
    pq.write_table(table, tmp_path / "rows.parquet")
    assert [one.question for one in read_questions([str(tmp_path / "rows.parquet")])] == ["Ann has 12."]
    make_tiny_traces(tiny_reasoner, tmp_path / "store", 2)
    shard = tmp_path / "store/shard-00000.arrow"
    stored = pa.ipc.open_stream(shard.read_bytes()).read_all()
    stored = stored.cast(stored.schema.set(0, typed_by_a_pickle(marker)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, stored.schema) as stream:
        stream.write_table(stored)
    shard.write_bytes(sink.getvalue())
    manifest = json.loads((tmp_path / "store/manifest.json").read_text())
    manifest["shards"][0]["sha256"] = hashlib.sha256(shard.read_bytes()).hexdigest()
    (tmp_path / "store/manifest.json").write_text(json.dumps(manifest))
    assert len(TraceStore.open(tmp_path / "store").questions) == 2


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!python/object/new:os.system", "!!python/name:os.system"]
)
def test_a_recipe_that_names_python_in_a_tag_runs_nothing(tag: str, tmp_path: Path, marker: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(f"train: {{out: {tag} ['touch {marker}']}}\n")
    refused(lambda: load_recipe([str(file)]), file)
    refused(lambda: load_recipe(["tiny", "--train.out", f"{tag} ['touch {marker}']"]), "train.out")


# ---- code of a repository


def with_code(folder: Path, marker: Path) -> None:
    """Let configuration and tokenizer name Python that lies beside them."""
    (folder / "planted.py").write_text(
        f"open({str(marker)!r}, 'w')\n"
        "from transformers import PretrainedConfig as Config, PreTrainedModel as Model\n"
        "from transformers import PreTrainedTokenizerFast as Tokenizer\n"
    )
    for name, classes in (
        ("config.json", {"AutoConfig": "planted.Config", "AutoModelForCausalLM": "planted.Model"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["planted.Tokenizer", "planted.Tokenizer"]}),
    ):
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(values | {"auto_map": classes}))


@pytest.mark.parametrize("model_type", [None, "unheard-of"])
def test_code_beside_a_checkpoint_is_not_run(
    model_type: str | None, tiny_folders: tuple[Path, Path], tmp_path: Path, marker: Path
) -> None:
    folder = tmp_path / "reasoner"
    shutil.copytree(tiny_folders[0], folder)
    with_code(folder, marker)
    if model_type is None:  # transformers has a class of its own, which is taken
        same = load_reasoner(str(folder)).content_hash
        assert same == CodiReasoner.from_pretrained(tiny_folders[0]).content_hash
        return
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": model_type}))
    refused(lambda: load_reasoner(str(folder)), folder)
    refused(lambda: load_base(str(folder)), folder)
    refused(lambda: LanguageModel.load(str(folder)), folder)


def test_code_beside_a_public_checkpoint_is_not_run(tmp_path: Path, marker: Path) -> None:
    case = make_codi_llama(tmp_path)
    with_code(Path(case.source.path), marker)
    load_reasoner(case.source)


# ---- paths out of a folder


@pytest.mark.parametrize("name", ["../other/model.safetensors", "{out}/model.safetensors", "..", "", 5])
def test_an_index_cannot_name_a_file_elsewhere(
    name: object, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    other, folder = tmp_path / "other", tmp_path / "reasoner"
    shutil.copytree(tiny_folders[0], other)
    shutil.copytree(tiny_folders[0], folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    told = name.format(out=other) if isinstance(name, str) else name
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(tensors, told)}))
    for work in (weight_files, tensor_files, lambda place: open_reasoner(str(place))):
        refused(lambda work=work: work(folder), index)


def test_a_configuration_cannot_name_other_weights(tiny_folders: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "reasoner"
    shutil.copytree(tiny_folders[0], folder)
    tensors = {
        name: torch.zeros_like(tensor) for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(tensors, folder / "others.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"transformers_weights": "others.safetensors"}))
    refused(lambda: load_reasoner(str(folder)), "transformers_weights")


def test_an_adapter_beside_the_weights_of_a_reasoner_is_refused(
    tiny_folders: tuple[Path, Path], tiny_verbalizer: Path, tmp_path: Path
) -> None:
    """transformers would put it on top of them, or load the model that it names in their place."""
    folder = tmp_path / "reasoner"
    shutil.copytree(tiny_folders[0], folder)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(tiny_verbalizer / name, folder)
    refused(lambda: load_reasoner(str(folder)), folder / "adapter_config.json")


@pytest.mark.parametrize("name", ["../manifest.json", "/etc/hostname", "..", "a/b.arrow", ""])
def test_a_manifest_cannot_name_a_file_elsewhere(
    name: str, tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    make_tiny_traces(tiny_reasoner, tmp_path / "store", 2)
    file = tmp_path / "store/manifest.json"
    manifest = json.loads(file.read_text())
    manifest["shards"][0]["file"] = name
    file.write_text(json.dumps(manifest))
    refused(lambda: TraceStore.open(tmp_path / "store"), file)


def test_a_snapshot_cannot_lead_out_of_its_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--you--it"
    snapshot = repository / "snapshots/0123"
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs/1").write_text("{}")
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/1")
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: str(snapshot))
    assert hub.fetched("you/it", None, ["*"], "it") == snapshot
    (tmp_path / "secret").write_text("of this machine")
    (snapshot / "tokenizer.json").symlink_to("../../../secret")
    refused(lambda: hub.fetched("you/it", None, ["*"], "it"), "tokenizer.json leads to")


def test_a_verbalizers_recipe_from_the_hub_cannot_say_where_to_write(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("reasoner: {path: you/it, converted: /somewhere/else}\n")
    assert reasoner_source(tmp_path, tmp_path).converted == "/somewhere/else"  # a folder of one's own
    assert reasoner_source(tmp_path, "you/verbalizer").converted == "runs/reasoners"
    assert reasoner_source(tmp_path, "you/verbalizer").path == "you/it"


# ---- what stands in the code


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    """Every call in the package, with the name of what is called, as it is written."""
    for folder in ("reverse_codi", "reward"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    yield file, node, ast.unparse(node.func)


FORBIDDEN = {
    *("eval", "exec", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load", "marshal.loads"),
    *(
        "pickle.load",
        "pickle.loads",
        "joblib.load",
        "dill.load",
        "dill.loads",
        "cloudpickle.loads",
        "pd.read_pickle",
    ),
}


def test_no_call_runs_what_a_file_or_a_text_says() -> None:
    seen = 0
    for file, call, name in calls():
        said = {word.arg: ast.unparse(word.value) for word in call.keywords}
        where = f"{file}:{call.lineno}"
        assert name not in FORBIDDEN, where
        assert said.get("shell", "False") == "False", where
        assert said.get("trust_remote_code", "False") == "False", where
        assert said.get("allow_pickle", "False") == "False", where
        if name == "torch.load":
            assert said.get("weights_only") == "True", where
        if name == "yaml.load":
            assert ast.unparse(call.args[1]) == "UniqueKeys", where
        if name in ("subprocess.run", "subprocess.Popen", "subprocess.check_output"):
            assert isinstance(call.args[0], ast.List) or "command" in ast.unparse(call.args[0]), where
        seen += name in ("torch.load", "yaml.load")
    assert seen == 2


LOADERS = {
    "reverse_codi/reasoners/checkpoints/hugging_face.py",
    "reverse_codi/reasoners/distill/pretrained.py",
}
LOADERS |= {"reverse_codi/reading/language_model.py"}


def test_transformers_is_asked_to_run_no_code_wherever_it_loads() -> None:
    """`trust_remote_code` left out means that it asks at the terminal."""
    found = set()
    for file, call, name in calls():
        if name in (
            "AutoConfig.from_pretrained",
            "AutoTokenizer.from_pretrained",
            "AutoModelForCausalLM.from_pretrained",
        ):
            said = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert said.get("trust_remote_code") == "False" or said.get(None) == "_PLAIN", (
                f"{file}:{call.lineno}"
            )
            found.add(str(file.relative_to(ROOT)))
    assert found == LOADERS


def test_the_page_is_reached_from_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    from reverse_codi.app import page
    from reverse_codi.cli import app

    asked: dict[str, object] = {}

    class Page:
        def queue(self) -> Page:
            return self

        def launch(self, **how: object) -> tuple[None, str, None]:
            asked.update(how)
            return None, "http://127.0.0.1:1", None

        def block_thread(self) -> None:
            pass

    monkeypatch.setattr(page, "build", lambda verbalizers: Page())
    app.main(["--port", "0"])
    assert (asked["server_name"], asked["share"]) == ("127.0.0.1", False)
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
