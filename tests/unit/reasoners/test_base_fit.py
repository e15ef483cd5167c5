"""A base that is not the one that a checkpoint was trained on is refused in one line that names the key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.load import load_reasoner
from tests.unit.reasoners.conformance.layouts import Case, make_answer_only, make_codi_gpt2


def described(case: Case, **values: object) -> None:
    """Change the base's config.json."""
    file = Path(str(case.source.base), "config.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("make", "values", "message"),
    [
        (make_codi_gpt2, {"n_embd": 32}, "a model of width 32, but .*pytorch_model.bin has 16"),
        (make_answer_only, {"hidden_size": 32}, "a model of width 32, but .* has 16"),
        (make_codi_gpt2, {"n_layer": 3}, "a model of depth 3, but .* has 2"),
        (make_answer_only, {"num_hidden_layers": 1}, "of depth 1, but .* has 2"),
        (
            make_answer_only,
            {"tie_word_embeddings": False},
            "has tie_word_embeddings: false, but .* has no lm_head.weight",
        ),
        (
            make_codi_gpt2,
            {"model_type": "llama"},
            "model.embed_tokens.weight is missing, the input embedding of a llama, which .*gpt2-base",
        ),
    ],
)
def test_another_base_is_refused(
    tmp_path: Path, make: Callable[[Path], Case], values: dict[str, object], message: str
) -> None:
    case = make(tmp_path)
    described(case, **values)
    with pytest.raises(CheckpointError, match=message) as refused:
        load_reasoner(case.source)
    assert "name the base that was trained on in reasoner.base" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not Path(case.source.converted).exists()


def test_an_untied_base_with_a_head_of_its_own_is_taken(tmp_path: Path) -> None:
    case = make_codi_gpt2(tmp_path)
    described(case, tie_word_embeddings=False)
    reasoner = load_reasoner(case.source)
    head = torch.load(case.file)["codi.base_model.model.lm_head.weight"]
    assert torch.equal(reasoner.lm.get_output_embeddings().weight, head)
