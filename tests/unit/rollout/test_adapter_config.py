"""An adapter's configuration may say what training sets, and nothing that would make it another adapter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.reasoners.load import ASSETS
from reverse_codi.rollout.adapter_config import AdapterError, adapter_config


@pytest.fixture
def adapter(tiny_verbalizer: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_verbalizer, tmp_path / "adapter")
    (tmp_path / "adapter/checksums.json").unlink()  # what is read is what is tested here
    return tmp_path / "adapter"


def test_what_training_writes_is_taken(tiny_verbalizer: Path) -> None:
    assert adapter_config(tiny_verbalizer)["r"] == 4
    assert adapter_config(ASSETS / "verbalizer")["r"] == 32


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; only LORA is loaded"),
        ({"r": "4"}, "r is '4'; give a whole number"),
        ({"r": 0}, "r is 0; give a whole number"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan; give a number above 0"),
        ({"lora_alpha": None}, "lora_alpha is None; give a number above 0"),
        ({"target_modules": "(a+)+$"}, r"target_modules is '\(a\+\)\+\$'; it must be a list"),
        ({"target_modules": None}, "target_modules is None; it must be a list"),
        ({"target_modules": [1]}, r"target_modules is \[1\]; it must be a list"),
        ({"use_rslora": True}, "use_rslora is True; False is what a verbalizer has there"),
        ({"alpha_pattern": {"q_proj": 64}}, "alpha_pattern is {'q_proj': 64}"),
        ({"layer_replication": [[0, 10**6]]}, "layer_replication is"),
        ({"megatron_core": "os"}, "megatron_core is 'os'"),
        ({"auto_mapping": {"parent_library": "os"}}, "auto_mapping is"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"of_a_later_version": True}, "of_a_later_version is True"),
    ],
)
def test_another_adapter_is_named(adapter: Path, values: dict[str, Any], said: str) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    with pytest.raises(AdapterError, match=said):
        adapter_config(adapter)


def test_keys_that_a_later_version_leaves_off_are_passed_over(adapter: Path) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"of_a_later_version": None, "another": False}))
    assert adapter_config(adapter)["another"] is False


def test_an_adapter_without_weights_is_named(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors is missing"):
        adapter_config(adapter)
