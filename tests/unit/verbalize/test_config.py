from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from reverse_codi.errors import RecipeError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.verbalize.config import FILE, Injection, VerbalizerConfig, VerbalizerConfigError

V = 1000


def make(**values: Any) -> VerbalizerConfig:
    return VerbalizerConfig(**{"n_vocab": V, "reasoner_hash": "r1", "tokenizer_hash": "t1", **values})


@pytest.fixture(scope="module")
def tokenizer(tiny_reasoner: CodiReasoner) -> PreTrainedTokenizerBase:
    return tiny_reasoner.tokenizer


def test_the_smallest_prompt_is_the_slot(tokenizer: PreTrainedTokenizerBase) -> None:
    assert make().build_prompt(tokenizer, [7]) == [V + 7]


def test_the_marker_stands_anywhere(tokenizer: PreTrainedTokenizerBase) -> None:
    a, b = (
        tokenizer("12", add_special_tokens=False).input_ids,
        tokenizer("+ 5", add_special_tokens=False).input_ids,
    )
    assert make(template="12 {thought}").build_prompt(tokenizer, [1]) == [*a, V + 1]
    assert make(template="{thought} + 5").build_prompt(tokenizer, [1]) == [V + 1, *b]
    assert make(template="12 {thought} + 5").build_prompt(tokenizer, [1]) == [*a, V + 1, *b]


def test_several_slots(tokenizer: PreTrainedTokenizerBase) -> None:
    plus = tokenizer("+", add_special_tokens=False).input_ids
    side_by_side = make(template="{thought} +", n_slots=3)
    assert side_by_side.build_prompt(tokenizer, [4, 5, 6]) == [V + 4, V + 5, V + 6, *plus]
    one_each = make(template="{thought} + {thought}", n_slots=2)
    assert one_each.build_prompt(tokenizer, [4, 9]) == [V + 4, *plus, V + 9]


@pytest.mark.parametrize("rows", [[], [1], [1, 2, 3]])
def test_another_number_of_vectors(tokenizer: PreTrainedTokenizerBase, rows: list[int]) -> None:
    with pytest.raises(VerbalizerConfigError, match=f"{len(rows)} vectors for 2 slots"):
        make(n_slots=2).build_prompt(tokenizer, rows)


def test_negative_row(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(VerbalizerConfigError, match="-3 is negative"):
        make().build_prompt(tokenizer, [-3])


def test_text_that_means_ids_beyond_the_vocabulary(tokenizer: PreTrainedTokenizerBase) -> None:
    verbalizer_config = make(template="+ {thought}", n_vocab=1)
    with pytest.raises(
        VerbalizerConfigError, match=f"2 ids beyond the vocabulary of 1, not 1.*{len(tokenizer)} tokens"
    ):
        verbalizer_config.build_prompt(tokenizer, [0])


@pytest.mark.parametrize(
    ("template", "slots"), [("no slot", 1), ("{thought} {thought}", 1), ("{thought} {thought}", 3)]
)
def test_template_and_slots_disagree(template: str, slots: int) -> None:
    with pytest.raises(ValueError, match=r"has \{thought\} \d times; write it 1"):
        make(template=template, n_slots=slots)


def test_injection_scales() -> None:
    vectors = torch.randn(5, 8)
    scaled = make(injection=Injection(norm=3.0)).inject(vectors)
    torch.testing.assert_close(scaled.norm(dim=1), torch.full((5,), 3.0))
    torch.testing.assert_close(torch.cosine_similarity(scaled, vectors), torch.ones(5))
    assert make().inject(vectors) is vectors


def test_a_zero_vector_cannot_be_scaled() -> None:
    vectors = torch.ones(3, 4)
    vectors[1] = 0
    with pytest.raises(VerbalizerConfigError, match="vector 1 is zero"):
        make(injection=Injection(norm=1.0)).inject(vectors)
    with pytest.raises(
        VerbalizerConfigError, match="vector 1 is zero"
    ):  # slots [N, S, d] as traces hold them
        make(injection=Injection(norm=1.0)).inject(vectors[:, None])


def test_saves_and_loads(tmp_path: Path) -> None:
    verbalizer_config = make(
        template="12 {thought}",
        injection=Injection(norm=2.5),
        read_spec={"prefix": "none", "ridge": 10.0},
    )
    verbalizer_config.save(tmp_path / "new")
    assert (
        VerbalizerConfig.load(tmp_path / "new", reasoner_hash="r1", tokenizer_hash="t1") == verbalizer_config
    )
    assert [file.name for file in (tmp_path / "new").iterdir()] == [FILE]  # no temporary file stays


def test_a_file_of_before_loads_if_it_says_what_holds_today(tmp_path: Path) -> None:
    make().save(tmp_path)
    today = json.loads((tmp_path / FILE).read_text())
    former = today | {
        "begin_id": None,
        "map_file": "maps.safetensors",
        "injection": {"kind": "z", "norm": None},
    }
    (tmp_path / FILE).write_text(json.dumps(former))
    assert VerbalizerConfig.load(tmp_path, reasoner_hash="r1") == make()
    for key, other in (("begin_id", 3), ("injection", {"kind": "h", "norm": None})):
        (tmp_path / FILE).write_text(json.dumps(former | {key: other}))
        with pytest.raises(RecipeError, match=key) as error:
            VerbalizerConfig.load(tmp_path, reasoner_hash="r1")
        assert "\n" not in str(error.value)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make().save(tmp_path)

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        make(template="+ {thought}").save(tmp_path)
    assert VerbalizerConfig.load(tmp_path, reasoner_hash="r1") == make()


@pytest.mark.parametrize(
    ("hashes", "message"),
    [
        ({"reasoner_hash": "r2"}, "reasoner with hash r1, the one at hand has r2"),
        ({"reasoner_hash": "r1", "tokenizer_hash": "t2"}, "tokenizer with hash t1, the one at hand has t2"),
    ],
)
def test_another_reasoner_or_tokenizer(tmp_path: Path, hashes: dict[str, str], message: str) -> None:
    make().save(tmp_path)
    with pytest.raises(VerbalizerConfigError, match=message):
        VerbalizerConfig.load(tmp_path, **hashes)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no verbalizer"):
        VerbalizerConfig.load(tmp_path, reasoner_hash="r1")


def test_another_schema_and_unknown_keys(tmp_path: Path) -> None:
    make().save(tmp_path)
    values = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps({**values, "schema_version": 99}))
    with pytest.raises(VerbalizerConfigError, match="schema version 99"):
        VerbalizerConfig.load(tmp_path, reasoner_hash="r1")
    (tmp_path / FILE).write_text(json.dumps({**values, "tempalte": "x"}))
    with pytest.raises(RecipeError, match="tempalte"):
        VerbalizerConfig.load(tmp_path, reasoner_hash="r1")
