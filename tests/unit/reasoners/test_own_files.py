"""The own format's files with values that no reasoner has: each is named before anything is built of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from reverse_codi.errors import UserError
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.codi import CodiReasoner


@pytest.fixture
def folder(tiny_folders: tuple[Path, Path], tmp_path: Path) -> Path:
    shutil.copytree(tiny_folders[0], tmp_path / "reasoner")
    return tmp_path / "reasoner"


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"n_thoughts": "3"}, "n_thoughts is '3'; give a whole number from 0"),
        ({"n_thoughts": -1}, "n_thoughts is -1; give a whole number from 0"),
        ({"n_thoughts": True}, "n_thoughts is True; give a whole number from 0"),
        ({"max_answer_tokens": 0}, "max_answer_tokens is 0; give a whole number from 1"),
        ({"cue": None}, "cue is None; give a text"),
        ({"question_format": "Q:"}, r"question_format is 'Q:'; write \{question\} in it"),
        ({"reference_masking": 1}, "reference_masking is 1; give true or false"),
        ({"begin_ids": [1, "2"]}, r"begin_ids is \[1, '2'\]; give a list of token ids"),
        ({"before_bot": 5}, "before_bot is 5; give a list of token ids"),
        ({"more": 1}, r"unknown fields \['more'\]"),
        ({"begin_ids": [5_000]}, r"the embedding has \d+ rows"),
        ({"bot_id": 5_000}, "bot is 5000"),
        (
            {"projection_width": 1_000_000},
            r"projection\.safetensors: .* has shape \(64, 32\), not \(1000000, 32\)",
        ),
    ],
)
def test_a_field_of_reasoner_json_is_named(folder: Path, values: dict[str, Any], said: str) -> None:
    change(folder / "reasoner.json", **values)
    with pytest.raises(CheckpointError, match=said):
        CodiReasoner.from_pretrained(folder)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"num_hidden_layers": 10**9},
            r"config\.json has 1000000000 layers, the weights have \d+ tensors in all",
        ),
        (
            {"num_hidden_layers": -1},
            r"config\.json: num_hidden_layers is -1; it must be a whole number above 0",
        ),
        ({"num_attention_heads": 0}, r"config\.json"),
        ({"hidden_size": 10**12}, r"reasoner"),
        ({"vocab_size": "many"}, r"config\.json"),
        ({"hidden_act": "nonsense"}, r"config\.json cannot be used \(KeyError: .*nonsense"),
        ({"max_position_embeddings": -5}, "max_position_embeddings is -5"),
        ({"model_type": "no-such"}, r"config\.json cannot be used"),
        ({"model_type": ["llama"]}, r"config\.json cannot be used"),
    ],
)
def test_a_value_of_config_json_is_named(folder: Path, values: dict[str, Any], said: str) -> None:
    change(folder / "config.json", **values)
    with pytest.raises(CheckpointError, match=said):
        CodiReasoner.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "reasoner.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 50_000])
def test_a_file_of_another_kind_is_named(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    try:
        CodiReasoner.from_pretrained(folder)
    except UserError as error:
        assert str(folder) in str(error)
    else:
        assert name == "tokenizer_config.json", "a tokenizer may lack its configuration"


def test_a_tokenizer_without_an_end_token_is_named(folder: Path) -> None:
    change(folder / "tokenizer_config.json", eos_token=None)
    with pytest.raises(CheckpointError, match="the tokenizer names no eos_token"):
        CodiReasoner.from_pretrained(folder)


def test_a_damaged_record_of_training_is_named(folder: Path) -> None:
    from reverse_codi.reasoners.distill.training_record import trained_length

    (folder / "training.json").write_text('{"longest_question": "57"}')
    with pytest.raises(UserError, match=r"training\.json: longest_question is '57'"):
        trained_length(folder)


def test_weights_of_one_layer_less_are_named(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: t for name, t in tensors.items() if ".layers.1." not in name}, folder / "model.safetensors"
    )
    with pytest.raises(CheckpointError, match=r"model\.layers\.1\..* is missing"):
        CodiReasoner.from_pretrained(folder)
