from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reverse_codi.errors import RecipeError
from reverse_codi.reasoners.codi import CheckpointError, CodiReasoner
from reverse_codi.reasoners.huginn.checkpoint import (
    HEAD,
    INDEX,
    ROTARY,
    TABLE,
    WEIGHTS,
    is_recurrent_depth,
    load_model,
    local_folder,
)
from reverse_codi.reasoners.huginn.model import rotation
from reverse_codi.reasoners.huginn.reasoner import HuginnReasoner
from reverse_codi.reasoners.huginn.refusal import refuse_translation
from tests.huginn import make_tiny_huginn

WQKV = "transformer.core_block.2.attn.Wqkv.weight"
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def reasoner() -> HuginnReasoner:
    return make_tiny_huginn()


@pytest.fixture
def folder(reasoner: HuginnReasoner, tmp_path: Path) -> Path:
    reasoner.save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def into_shards(folder: Path) -> dict[str, str]:
    """As the hub has it: three files and an index."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    weight_map = {name: f"model-0000{i % 3 + 1}-of-00003.safetensors" for i, name in enumerate(names)}
    for file in set(weight_map.values()):
        save_file({name: tensors[name] for name in names if weight_map[name] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return weight_map


def add_copies(tensors: Tensors, reasoner: HuginnReasoner) -> None:
    """What the published files hold beside the parameters."""
    positions = torch.arange(reasoner.config.block_size)[None]
    tensors[HEAD] = tensors[TABLE].clone()
    tensors[ROTARY] = rotation(positions, reasoner.config).movedim(0, -1).contiguous()


def test_saved_and_loaded_it_is_the_same(reasoner: HuginnReasoner, folder: Path) -> None:
    loaded = HuginnReasoner.from_pretrained(folder)
    assert loaded.config == reasoner.config
    assert loaded.content_hash == reasoner.content_hash
    assert loaded.tokenizer_hash == reasoner.tokenizer_hash
    assert torch.equal(loaded.read(["12 + 5"])[0], reasoner.read(["12 + 5"])[0])
    assert loaded.answer(["12 + 5"], max_new_tokens=3) == reasoner.answer(["12 + 5"], max_new_tokens=3)
    assert not loaded.model.training
    assert loaded.content_hash != make_tiny_huginn(seed=1).content_hash


def test_the_published_layout_loads(reasoner: HuginnReasoner, folder: Path) -> None:
    rewrite(folder, lambda tensors: add_copies(tensors, reasoner))
    # Keys that the published config.json has and that would ask for the repository's own code.
    values = json.loads((folder / "config.json").read_text())
    values["auto_map"] = {"AutoConfig": "raven_config_minimal.RavenConfig"}
    (folder / "config.json").write_text(json.dumps(values))
    into_shards(folder)
    assert HuginnReasoner.from_pretrained(folder).content_hash == reasoner.content_hash


def test_weights_take_the_type_asked_for(folder: Path) -> None:
    kinds = {tensor.dtype for tensor in load_model(folder, dtype=torch.bfloat16).state_dict().values()}
    assert kinds == {torch.bfloat16}
    rewrite(folder, lambda tensors: tensors.update({k: v.half() for k, v in tensors.items()}))
    assert load_model(folder).table.dtype == torch.float16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(WQKV), f"{WQKV} is missing"),
        (lambda t: t.update(ghost=torch.zeros(2)), r"ghost in model\.safetensors is unknown"),
        (
            lambda t: t.update({WQKV: torch.zeros(40, 40)}),
            rf"{WQKV} in model\.safetensors has shape \(40, 40\), not \(120, 40\)",
        ),
        (
            lambda t: t.update({HEAD: torch.zeros_like(t[TABLE])}),
            "lm_head.weight differs from transformer.wte",
        ),
        (lambda t: t.update({HEAD: torch.zeros(2)}), r"lm_head.weight in .* has shape \(2,\)"),
        (
            lambda t: t.update({ROTARY: torch.ones(1, 64, 1, 4, 2)}),
            "freqs_cis is not that of rope_base 50000",
        ),
        (
            lambda t: t.pop("transformer.adapter.weight"),
            "no recurrent-depth model: looked for transformer.ad",
        ),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(
    folder: Path, change: Callable[[Tensors], object], message: str
) -> None:
    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=message):
        HuginnReasoner.from_pretrained(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinite_weights_are_refused(folder: Path, value: float) -> None:
    rewrite(folder, lambda tensors: tensors[WQKV].view(-1)[3:5].fill_(value))
    with pytest.raises(
        CheckpointError, match=rf"model\.safetensors: {WQKV} holds 2 of 4800 values that are NaN"
    ):
        load_model(folder)


def test_a_git_lfs_pointer_is_called_one(folder: Path) -> None:
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\nsize 5\n")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is a Git LFS pointer"):
        load_model(folder)


def test_the_minimal_configuration_loads(reasoner: HuginnReasoner, folder: Path) -> None:
    """Hugging Face's names for heads and width, and nothing that has a default."""
    values = json.loads((folder / "config.json").read_text())
    for name, alias in (("n_heads", "num_attention_heads"), ("n_embd", "hidden_size")):
        values[alias] = values.pop(name)
    for name in (
        "n_layers",
        "num_key_value_heads",
        "padded_vocab_size",
        "init_values",
        "norm_eps",
        "qk_bias",
    ):
        del values[name]
    (folder / "config.json").write_text(json.dumps(values))
    assert HuginnReasoner.from_pretrained(folder).content_hash == reasoner.content_hash
    (folder / "config.json").write_text(json.dumps(values | {"n_heads": 7}))
    with pytest.raises(CheckpointError, match=r"n_heads is 7 and num_attention_heads 5, which mean the same"):
        HuginnReasoner.from_pretrained(folder)


def test_all_that_does_not_fit_is_named_at_once(folder: Path) -> None:
    def change(tensors: Tensors) -> None:
        del tensors[WQKV]
        tensors["ghost"] = torch.zeros(2)

    rewrite(folder, change)
    with pytest.raises(CheckpointError, match=r"ghost in .* unknown; .*Wqkv.weight is missing"):
        load_model(folder)


def test_an_untied_model_needs_its_head(tmp_path: Path) -> None:
    reasoner = make_tiny_huginn(tie_embeddings=False)
    reasoner.save_pretrained(tmp_path)
    assert HuginnReasoner.from_pretrained(tmp_path).content_hash == reasoner.content_hash
    rewrite(tmp_path, lambda tensors: tensors.pop(HEAD))
    with pytest.raises(CheckpointError, match=r"lm_head\.weight is missing"):
        load_model(tmp_path)


def test_a_truncated_file_is_named(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is cut off.* fetch it again"):
        load_model(folder)


def test_index_and_shards_that_disagree_are_named(folder: Path) -> None:
    weight_map = into_shards(folder)
    other = dict.fromkeys(weight_map, "model-00001-of-00003.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map | {WQKV: "gone.safetensors"}}))
    with pytest.raises(
        CheckpointError, match=r"gone\.safetensors is missing, which model.*index\.json lists"
    ):
        load_model(folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": other}))
    with pytest.raises(CheckpointError, match=r"is missing in model-00001-of-00003\.safetensors"):
        load_model(folder)


def test_a_folder_without_weights_or_configuration_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        load_model(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match=r"neither model\.safetensors\.index\.json nor"):
        load_model(folder)
    with pytest.raises(CheckpointError, match=r"MODEL = .*nowhere' is missing: there is no such folder"):
        local_folder(str(tmp_path / "nowhere"))


def test_a_hub_id_that_cannot_be_fetched_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="'nobody/none' is no folder here, and the hub gave"):
        local_folder("nobody/none")


def test_the_layout_is_recognised_from_its_names(
    folder: Path, reasoner: HuginnReasoner, tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    assert is_recurrent_depth(reasoner.model.state_dict())
    assert not is_recurrent_depth(tiny_reasoner.model.state_dict())
    with pytest.raises(RecipeError, match="no thoughts to translate: its states come from reading the text"):
        refuse_translation(folder)
    into_shards(folder)
    with pytest.raises(RecipeError, match=r"reverse-codi trajectories"):
        refuse_translation(folder)


def test_other_reasoners_pass(tiny_folders: tuple[Path, Path], tmp_path: Path) -> None:
    refuse_translation(tiny_folders[0])
    refuse_translation(tmp_path)
    with pytest.raises(CheckpointError, match="holds no recurrent-depth model"):
        load_model(tiny_folders[0])
