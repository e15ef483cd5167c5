from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from reverse_codi.recipe.lora import LINEAR_LAYERS
from reverse_codi.rollout.adapter_config import AdapterError
from reverse_codi.rollout.merging import Base
from tests.policies import load_base, save_base

pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False")
GPT2_LAYERS = ("c_attn", "c_proj", "c_fc")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "llama":
        return save_base(folder)
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=2)).save_pretrained(folder)
    return folder


def layers_of(base: Path) -> tuple[str, ...]:
    kind = json.loads((base / "config.json").read_text())["model_type"]
    return GPT2_LAYERS if kind == "gpt2" else LINEAR_LAYERS


def adapter(base: Path, folder: Path, seed: int, targets: tuple[str, ...] = ()) -> Path:
    """A saved LoRA that changes its layers."""
    torch.manual_seed(seed)
    shape = LoraConfig(
        r=4, lora_alpha=8, target_modules=list(targets or layers_of(base)), task_type="CAUSAL_LM"
    )
    model = get_peft_model(load_base(base), shape)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(str(folder))
    return folder


def by_peft(base: Path, folder: Path, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """What PEFT alone makes of base and adapter, read anew."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    merged: PreTrainedModel = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    return {name: weight.detach() for name, weight in merged.named_parameters()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merged_is_what_peft_makes_of_a_fresh_base(base: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    kept = Base(base, dtype)
    for version in (1, 2):
        folder = adapter(base, tmp_path / f"v{version}", seed=version)
        expected = by_peft(base, folder, dtype)
        found = dict(kept.merged(folder).named_parameters())
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], weight) for name, weight in expected.items())
        assert not any(weight.requires_grad for weight in found.values())
    fresh = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    for (_, found_), (_, expected_) in zip(
        kept.merged(None).named_parameters(), fresh.named_parameters(), strict=True
    ):
        assert torch.equal(found_, expected_)


def test_only_layers_with_an_adapter_take_memory(base: Path, tmp_path: Path) -> None:
    kept = Base(base, torch.float32)
    plain, merged = kept.merged(None), kept.merged(adapter(base, tmp_path, seed=1))
    own = {
        name for name, w in merged.named_parameters() if w.data_ptr() != plain.get_parameter(name).data_ptr()
    }
    assert own == {name for name, _ in merged.named_parameters() if name.split(".")[-2] in layers_of(base)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_changes_lead_from_each_policy_to_the_next(base: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    """Also where the next adapter leaves layers alone that the one before changed."""
    kept = Base(base, dtype)
    engine = {name: w.detach() for name, w in Base(base, dtype).merged(None).named_parameters()}
    one = layers_of(base)[:1]
    for version, targets in enumerate([(), one, (), one, one]):
        folder = adapter(base, tmp_path / f"v{version}", seed=version, targets=targets)
        engine |= kept.changes(folder)
        expected = by_peft(base, folder, dtype)
        assert all(torch.equal(engine[name], weight) for name, weight in expected.items())


def test_changes_are_whole_modules_and_no_embedding(base: Path, tmp_path: Path) -> None:
    sent = [
        name for name, _ in Base(base, torch.float32).changes(adapter(base, tmp_path, 1, layers_of(base)[:1]))
    ]
    assert len(sent) == len(set(sent))
    model = load_base(base)
    first = next(name for name, _ in model.named_modules() if name.split(".")[-1] == layers_of(base)[0])
    block = first.rpartition(".")[0]
    expected = {f"{block}.{name}" for name, _ in model.get_submodule(block).named_parameters()}
    assert {name for name in sent if name.startswith(f"{block}.")} == expected
    assert not any("embed" in name or "wte" in name or "norm" in name or "ln_" in name for name in sent)


def test_an_adapter_that_does_not_fit_sends_nothing(base: Path, tmp_path: Path) -> None:
    folder = adapter(base, tmp_path, seed=1)
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"target_modules": list(layers_of(base)[:1])}))
    with pytest.raises(ValueError, match=r"does not fit the base model: .*unknown"):
        Base(base, torch.float32).changes(folder)


def test_an_adapter_that_does_not_fit_is_refused_after_one_that_does_too(base: Path, tmp_path: Path) -> None:
    kept = Base(base, torch.float32)
    good = adapter(base, tmp_path / "good", seed=1)
    first = dict(kept.changes(good))
    bad = adapter(base, tmp_path / "bad", seed=2)
    file = bad / "adapter_model.safetensors"
    whole = load_file(file)
    name = next(iter(whole))
    save_file({key: value for key, value in whole.items() if key != name}, file)
    with pytest.raises(AdapterError, match=r"does not fit the base model: missing .*lora_"):
        kept.changes(bad)
    save_file({**whole, name: torch.zeros(3, 3)}, file)
    with pytest.raises(AdapterError, match="fetch it again, or train it on this model"):
        kept.changes(bad)
    again = dict(kept.changes(good))
    assert again.keys() == first.keys()
    assert all(torch.equal(again[key], weight) for key, weight in first.items())
