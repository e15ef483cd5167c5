"""Tables of other sizes than the tokenizer's, heads beside embeddings, and ids that no answer holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config

from reverse_codi.reasoners import codi
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.prompting import ADDED
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import import_report, load_reasoner, reasoner_folder
from tests.unit.reasoners.conformance.layouts import (
    QUESTIONS,
    Case,
    make_answer_only,
    make_coconut,
    make_codi_gpt2,
    make_codi_llama,
    make_own,
)

HEAD, SECOND = "lm_head.weight", "embedding.weight"
Tensors = dict[str, Tensor]


def stored(case: Case) -> Tensors:
    return load_file(case.file) if case.file.suffix == ".safetensors" else torch.load(case.file)


def write(case: Case, tensors: Tensors) -> None:
    (save_file if case.file.suffix == ".safetensors" else torch.save)(tensors, case.file)


def table(tensors: Tensors) -> str:
    return next(name for name in tensors if name.endswith(("wte.weight", "embed_tokens.weight")))


# ---- rows


def padded(tensors: Tensors, rows: int) -> Tensors:
    """Every tensor with a row a token, with rows of zeros behind the last one."""
    known, out = len(tensors[table(tensors)]), {}
    for name, tensor in tensors.items():
        vocabulary = name.endswith(("wte.weight", "embed_tokens.weight", HEAD)) or name == SECOND
        tail = tensor.new_zeros(rows - known, *tensor.shape[1:])
        out[name] = torch.cat([tensor, tail]) if vocabulary and len(tensor) == known else tensor
    return out


@pytest.mark.parametrize("more", [1, "64"])
@pytest.mark.parametrize("make", [make_codi_gpt2, make_codi_llama, make_answer_only, make_coconut])
def test_rows_behind_the_last_token_are_left_out(
    tmp_path: Path, make: Callable[[Path], Case], more: int | str
) -> None:
    case = make(tmp_path)
    plain = load_reasoner(case.source)
    tensors = stored(case)
    known = len(tensors[table(tensors)])
    rows = known + more if isinstance(more, int) else known + -known % int(more)
    assert rows > known
    write(case, padded(tensors, rows))
    report = import_report(reasoner_folder(case.source))
    assert report is not None and report.padding == rows - known
    assert f"padding        {rows - known} rows behind the last token, left out" in str(report)
    again = load_reasoner(case.source)
    assert again.content_hash == plain.content_hash
    assert again.think(QUESTIONS).outputs == plain.think(QUESTIONS).outputs


def test_a_configuration_that_counts_the_padding_needs_the_base(tmp_path: Path) -> None:
    """Ids may lie before or behind the padding: a base with fewer tokens than rows is padded before them."""
    case = make_codi_llama(tmp_path)
    tensors, config = stored(case), Path(case.source.path, "config.json")
    known = len(tensors[table(tensors)])
    rows = known + -known % 64
    base = tmp_path / "base"
    base.mkdir()
    config.rename(base / "config.json")
    config.write_text(json.dumps(json.loads((base / "config.json").read_text()) | {"vocab_size": rows}))
    write(case, padded(tensors, rows))
    message = (
        rf"have {rows} ids, the tokenizer has {known - ADDED} tokens; .*name the base model in reasoner.base"
    )
    with pytest.raises(CheckpointError, match=message):
        load_reasoner(case.source)
    reasoner = load_reasoner(case.source.model_copy(update={"base": str(base)}))
    assert (reasoner.config.bot_id, reasoner.config.eot_id) == (known - 2, known - 1)


def test_a_table_of_another_vocabulary_is_still_refused(tmp_path: Path) -> None:
    case = make_coconut(tmp_path)
    tensors = stored(case)
    known = len(tensors[table(tensors)])
    write(case, padded(tensors, known + 128))
    message = rf"has {known} tokens, the checkpoint's embedding {known + 128} rows"
    with pytest.raises(CheckpointError, match=message):
        load_reasoner(case.source)


# ---- heads


def other_head(tensors: Tensors, prefix: str) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    tensors[prefix + HEAD] = 0.3 * torch.randn(tensors[table(tensors)].shape, generator=generator)
    return tensors[prefix + HEAD]


@pytest.mark.parametrize("make", [make_codi_gpt2, make_codi_llama])
def test_a_tied_head_that_differs_gives_both_its_values(tmp_path: Path, make: Callable[[Path], Case]) -> None:
    """As a state dict that is loaded into tied modules: the head comes last."""
    case = make(tmp_path)
    tensors = stored(case)
    head = other_head(tensors, case.prefix)
    write(case, tensors)
    reasoner = load_reasoner(case.source)
    assert torch.equal(reasoner.model.embed(torch.arange(len(head))), head)
    assert torch.equal(reasoner.lm.get_output_embeddings().weight, head)
    name = table(tensors).removeprefix(case.prefix)
    # What a module's own loading leaves there.
    other = AutoModelForCausalLM.from_config(reasoner.lm.config)
    other.load_state_dict({HEAD: head, name: tensors[table(tensors)]}, strict=False)
    assert torch.equal(other.get_input_embeddings().weight, head)
    report = import_report(reasoner_folder(case.source))
    assert report is not None
    assert f"is other than {name}; both have the values of lm_head.weight" in report.tied


def test_coconut_loads_the_embeddings_second_name_last(tmp_path: Path) -> None:
    case = make_coconut(tmp_path)
    tensors = stored(case)
    embedding, head = tensors[table(tensors)], other_head(tensors, case.prefix)
    write(case, tensors)
    reasoner = load_reasoner(case.source)
    assert torch.equal(reasoner.lm.get_output_embeddings().weight, embedding)
    del tensors[SECOND]
    write(case, tensors)
    assert torch.equal(load_reasoner(case.source).model.embed(torch.arange(len(head))), head)


@pytest.mark.parametrize("shared", [True, False], ids=["one storage", "two tables"])
def test_an_untied_base_keeps_a_head_of_its_own(tmp_path: Path, shared: bool) -> None:
    case = make_codi_gpt2(tmp_path)
    base = Path(str(case.source.base))
    GPT2Config.from_pretrained(base, tie_word_embeddings=False).save_pretrained(base)
    tensors = stored(case)
    embedding = tensors[table(tensors)]
    head = other_head(tensors, case.prefix)
    if shared:  # as torch.save keeps a model whose head and embedding are one
        head = tensors[case.prefix + HEAD] = embedding
    write(case, tensors)
    reasoner = load_reasoner(case.source)
    assert torch.equal(reasoner.lm.get_input_embeddings().weight, embedding)
    assert torch.equal(reasoner.lm.get_output_embeddings().weight, head)
    assert not list(Path(case.source.converted).glob("*.tmp"))


def test_a_head_of_another_size_is_named(tmp_path: Path) -> None:
    case = make_codi_gpt2(tmp_path)
    tensors = stored(case)
    tensors[case.prefix + HEAD] = tensors[table(tensors)][:-3]
    write(case, tensors)
    with pytest.raises(CheckpointError, match=r"lm_head.weight has shape .* though config.json ties them"):
        load_reasoner(case.source)


def test_the_own_format_refuses_a_tied_head_that_differs(tmp_path: Path) -> None:
    case = make_own(tmp_path)
    tensors = stored(case)
    other_head(tensors, "")
    save_file(tensors, case.file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lm_head.weight differs from model.embed_tokens.weight"):
        load_reasoner(case.source)


# ---- answers


@torch.no_grad()
@pytest.mark.parametrize("make", [make_codi_gpt2, make_codi_llama, make_answer_only])
def test_the_last_id_is_in_no_answer_and_may_be_in_written_steps(
    tmp_path: Path, make: Callable[[Path], Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both CODI codes decode answers from logits[..., : vocab_size - 1], and written steps freely."""
    loaded = load_reasoner(make(tmp_path).source)
    short = replace(loaded.config, max_answer_tokens=6, max_written_tokens=6)
    reasoner = CodiReasoner(loaded.model, loaded.tokenizer, short)
    last = len(reasoner.lm.get_input_embeddings().weight) - 1
    assert reasoner.config.eot_id == last
    assert reasoner.config.unwritten_ids == (last,)
    # Its row now points to where solutions are, so that it is the likeliest token nearly everywhere.
    states = torch.stack([layers[-1, -1] for layers in reasoner.read(QUESTIONS, QUESTIONS)]).mean(0)
    reasoner.lm.get_input_embeddings().weight[last] = 50 * states / states.norm()
    free = CodiReasoner(loaded.model, loaded.tokenizer, replace(short, unwritten_ids=()))
    answers: list[list[int]] = []
    solutions: list[list[int]] = []
    monkeypatch.setattr(codi, "decoded_answer", lambda tokenizer, ids: answers.append(list(ids)) or "")
    monkeypatch.setattr(CodiReasoner, "solution", lambda self, ids: solutions.append(list(ids)) or "")
    reasoner.think(QUESTIONS)
    assert len(answers) == len(QUESTIONS)
    assert not any(last in ids for ids in answers)
    reasoner.write(QUESTIONS)
    assert any(last in ids for ids in solutions)
    answers.clear()
    free.think(QUESTIONS)
    assert any(last in ids for ids in answers)  # the mask is what keeps it out
