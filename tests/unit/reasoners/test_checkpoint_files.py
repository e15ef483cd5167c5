"""What lies beside weights, what stands in their place, and what was put before their names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reverse_codi.errors import UserError
from reverse_codi.reasoners.checkpoints import convert
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.files import read_weights, unwrapped, weight_files
from reverse_codi.reasoners.distill.pretrained import load_base
from reverse_codi.reasoners.load import import_report, load_reasoner, open_reasoner, reasoner_folder
from reverse_codi.recipe.reasoner import Source
from reverse_codi.storage import hub
from tests.unit.reasoners.conformance.layouts import (
    make_coconut,
    make_codi_gpt2,
    make_codi_llama,
    make_own,
)

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 5\n"


# ---- a Trainer's folder


def test_a_trainers_folder_gives_its_weights(tmp_path: Path) -> None:
    case = make_codi_gpt2(tmp_path)
    folder = Path(case.source.path)
    plain = load_reasoner(case.source)
    for name in ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "rng_state_0.pth"):
        torch.save({"state": 1}, folder / name)
    torch.save({"args": 1}, folder / "training_args.bin")
    torch.save({"state": 1}, folder / "optimizer.bin")  # Accelerate's
    assert weight_files(folder) == [folder / "pytorch_model.bin"]
    assert load_reasoner(case.source).content_hash == plain.content_hash
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"holds no weights: looked for .* \(not those of optimizers"):
        weight_files(folder)


def test_the_last_of_numbered_checkpoints_is_the_highest(tmp_path: Path) -> None:
    for epoch in (1, 2, 10):
        (tmp_path / f"checkpoint_{epoch}").touch()
    with pytest.raises(
        CheckpointError, match=r"\(checkpoint_1, checkpoint_2, checkpoint_10\); name one"
    ) as reported:
        weight_files(tmp_path)
    assert str(reported.value).endswith(str(tmp_path / "checkpoint_10"))


def test_the_checkpoints_of_a_run_are_pointed_to(tmp_path: Path) -> None:
    for step in (500, 1000, 90):
        (tmp_path / f"checkpoint-{step}").mkdir()
    with pytest.raises(CheckpointError, match=rf"one of its 3 checkpoints: {tmp_path / 'checkpoint-1000'}$"):
        weight_files(tmp_path)


# ---- pointers


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_git_lfs_pointer_is_called_one(tmp_path: Path, name: str) -> None:
    case = make_codi_llama(tmp_path)
    Path(case.source.path, name).write_text(POINTER)
    with pytest.raises(CheckpointError, match=rf"{name} is a Git LFS pointer, .* run `git lfs pull` in "):
        load_reasoner(case.source)
    assert not Path(case.source.converted).exists()


@pytest.mark.parametrize("name", ["model.safetensors", "projection.safetensors"])
def test_a_pointer_in_the_own_format_is_called_one(tmp_path: Path, name: str) -> None:
    case = make_own(tmp_path)
    Path(case.source.path, name).write_text(POINTER)
    with pytest.raises(CheckpointError, match=rf"{name} is a Git LFS pointer"):
        load_reasoner(case.source)


def test_a_pointer_in_place_of_a_pickle_or_a_base_is_called_one(tmp_path: Path) -> None:
    case = make_codi_gpt2(tmp_path)
    case.file.write_text(POINTER)
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin is a Git LFS pointer"):
        load_reasoner(case.source)
    (tmp_path / "base.gguf").write_text(POINTER)
    with pytest.raises(CheckpointError, match=r"base.gguf is a Git LFS pointer"):
        load_base(str(tmp_path / "base.gguf"))


# ---- paths


def no_hub(*_: object, **__: object) -> str:
    raise AssertionError("looked up on the hub")


@pytest.mark.parametrize(
    "path",
    ["/no/such/folder", "./nowhere", "~/no-such-folder-here", "nowhere", "a/b/c", "runs/reasonr", "a/b.pt"],
)
def test_a_missing_path_is_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "reasoner").mkdir(parents=True)
    monkeypatch.setattr(hub, "snapshot_download", no_hub)
    with pytest.raises(CheckpointError, match=rf"reasoner\.path = '{path}' is missing: there is no such"):
        open_reasoner(path)
    if path.startswith("runs"):
        with pytest.raises(CheckpointError, match=r"did you mean runs/reasoner\?"):
            open_reasoner(path)
    base = Source(path=str(make_codi_gpt2(tmp_path).source.path), base=path, n_thoughts=3, lora_alpha=1)
    with pytest.raises(CheckpointError, match=rf"reasoner\.base = '{path}' is missing"):
        load_reasoner(base)


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_own(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_reasoner("~/own").n_thoughts == 3


# ---- prefixes


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("module.", "module."),
        ("_orig_mod.", "_orig_mod."),
        ("_orig_mod.module.", "_orig_mod."),
        ("_fsdp_wrapped_module.", "_fsdp_wrapped_module."),
    ],
)
def test_prefixes_of_wrappers_are_taken_off_and_noted(tmp_path: Path, before: str, said: str) -> None:
    case = make_codi_llama(tmp_path)
    plain = load_reasoner(case.source)
    tensors = load_file(case.file)
    save_file({before + name: tensor for name, tensor in tensors.items()}, case.file)
    report = import_report(reasoner_folder(case.source))
    assert (
        report is not None and f"prefixes       {said}" in str(report) and "taken off the keys" in str(report)
    )
    assert load_reasoner(case.source).content_hash == plain.content_hash
    assert import_report(reasoner_folder(make_coconut(tmp_path).source)).wrappers == []


def test_only_wrappers_are_taken_off() -> None:
    assert unwrapped(["module.a", "module.b"]) == ["a", "b"]
    assert unwrapped(["module.a", "b"]) == ["module.a", "b"]  # a module of that name
    assert unwrapped(["codi._orig_mod.x", "prj.1.weight"]) == ["codi.x", "prj.1.weight"]
    assert unwrapped(["module._orig_mod.a._fsdp_wrapped_module.b"]) == ["a.b"]
    assert unwrapped(["my_orig_mod.a"]) == ["my_orig_mod.a"]


def test_messages_name_a_tensor_as_its_file_does_and_two_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"module.a": torch.zeros(1), "module.b": torch.zeros(1)}, file)
    weights = read_weights([file])
    assert weights.place("a") == "model.safetensors: module.a"
    save_file({"a": torch.zeros(1), "_orig_mod.a": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=r"a and .*a are both a without their prefixes"):
        read_weights([file])


# ---- values that no model can have


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "name",
    [
        "codi.base_model.model.model.layers.1.mlp.up_proj.lora_A.default.weight",
        "codi.base_model.model.model.embed_tokens.weight",
        "prj.ln.bias",
    ],
)
def test_nan_and_infinite_weights_are_refused(tmp_path: Path, name: str, value: float) -> None:
    case = make_codi_llama(tmp_path)
    tensors = load_file(case.file)
    tensors[name].view(-1)[0] = value
    save_file(tensors, case.file)
    message = rf"model.safetensors: {name} holds 1 of {tensors[name].numel()} values that are NaN or infinite"
    with pytest.raises(CheckpointError, match=message):
        load_reasoner(case.source)
    assert not Path(case.source.converted).exists()


@pytest.mark.parametrize(
    ("file", "name"),
    [("model.safetensors", "model.norm.weight"), ("projection.safetensors", "3.bias")],
)
def test_nan_in_the_own_format_is_refused(tmp_path: Path, file: str, name: str) -> None:
    path = Path(make_own(tmp_path).source.path, file)
    tensors = load_file(path)
    tensors[name][-1] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(
        CheckpointError, match=rf"{name} holds 1 of {tensors[name].numel()} values that are NaN"
    ):
        load_reasoner(path.parent)


def test_weights_that_do_not_fit_into_their_type_are_refused(tmp_path: Path) -> None:
    case = make_codi_llama(tmp_path)
    tensors = load_file(case.file)
    tensors["prj.3.bias"][2] = 1e30
    save_file(tensors, case.file)
    assert load_reasoner(case.source).n_thoughts == 3
    half = case.source.model_copy(update={"dtype": "float16"})
    message = (
        r"prj.3.bias holds 1 of 16 .*does not fit into float16; set reasoner.dtype to bfloat16 or float32"
    )
    with pytest.raises(CheckpointError, match=message):
        load_reasoner(half)


# ---- what is left when writing fails


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_codi_gpt2(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        reasoner_folder(case.source)
    assert list(Path(case.source.converted).iterdir()) == []


def test_errors_are_one_line_each() -> None:
    assert issubclass(CheckpointError, UserError)
