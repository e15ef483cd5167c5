"""Random weights in public layouts: sizes, ids and keys are the real ones; texts end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from reverse_codi.reasoners.checkpoints.known import known
from reverse_codi.reasoners.checkpoints.random_tokenizers import LEARNT, gpt2_tokenizer, llama_tokenizer
from reverse_codi.reasoners.checkpoints.random_weights import (
    ENDERS,
    PUBLIC,
    PublicLayout,
    tensors,
    write_random,
)
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import import_report, load_reasoner, reasoner_folder
from reverse_codi.recipe.reasoner import Source
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split

GPT2, LLAMA = "zen-E/CODI-gpt2", "bcywinski/codi_llama1b-answer_only"
PROBLEMS = Arithmetic().problems(Split.TRAIN, 200, 0)
TEXTS = [" ".join([p.question, *(step.english for step in p.steps)]) for p in PROBLEMS]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """CODI-gpt2 with one layer of its full width, over its full vocabulary."""
    root = tmp_path_factory.mktemp("gpt2")
    written = write_random(PUBLIC[GPT2], root / "hub", TEXTS, layers=1)
    return Source(path=str(written.path), base=str(written.base), converted=str(root / "converted"))


@pytest.fixture(scope="module")
def reasoner(gpt2: Source) -> Iterator[CodiReasoner]:
    yield load_reasoner(gpt2)


def test_codi_gpt2s_file_has_the_published_parameters_and_bytes() -> None:
    layout = PUBLIC[GPT2]
    sizes = {name: (t.numel(), t.nbytes) for name, t in tensors(layout, layout.config(), seed=0)}
    head = sizes.pop("codi.base_model.model.lm_head.weight")
    assert sum(n for n, _ in sizes.values()) == 144_499_200
    assert round((sum(size for _, size in sizes.values()) + head[1]) / 1e6) == 406
    assert len(sizes) == 148 + 2 * 48 + 6


def test_every_tensor_of_it_is_accounted_for(gpt2: Source, reasoner: CodiReasoner) -> None:
    report = import_report(reasoner_folder(gpt2))
    assert report is not None
    assert (report.n_tensors, len(report.merged), report.rank, report.alpha) == (
        12 + 4 + 8 + 6 + 1,
        4,
        128,
        32,
    )
    assert report.tied == "lm_head.weight is the same as transformer.wte.weight"
    assert (reasoner.config.bot_id, reasoner.config.eot_id, reasoner.n_thoughts) == (50_258, 50_259, 6)
    assert reasoner.lm.get_input_embeddings().weight.shape == (50_260, 768)


def test_it_is_known_by_the_folder_of_the_hubs_client(gpt2: Source) -> None:
    facts = known(gpt2.path)
    assert facts is not None and facts is known(GPT2)


def test_thoughts_of_two_questions_differ_and_are_finite(reasoner: CodiReasoner) -> None:
    chains = reasoner.think([problem.question for problem in PROBLEMS[:4]])
    assert bool(chains.hidden_states.isfinite().all())
    apart = (chains.hidden_states[0] - chains.hidden_states[1]).norm(dim=-1)
    assert bool((apart > 0.2 * chains.hidden_states[0].norm(dim=-1)).all())


@torch.no_grad()
def test_a_text_ends_after_an_ender_and_not_after_other_tokens(reasoner: CodiReasoner) -> None:
    eos, enders = 50_256, torch.arange(LEARNT, 50_256, ENDERS)[:50]
    others = enders + 1

    def ends(ids: torch.Tensor) -> float:
        before = torch.tensor(reasoner.ids("Ann has 12")).expand(len(ids), -1)
        logits = reasoner.lm(input_ids=torch.cat([before, ids[:, None]], 1)).logits[:, -1]
        return float((logits.argmax(-1) == eos).float().mean())

    assert ends(enders) == 1
    assert ends(others) < 0.1


def test_one_seed_gives_the_same_weights() -> None:
    layout = PUBLIC[GPT2]
    config = layout.config()
    config.num_hidden_layers = 1
    name = "codi.base_model.model.transformer.h.0.mlp.c_fc.lora_A.default.weight"
    one, again, other = (dict(tensors(layout, config, seed))[name] for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)


# ---- tokenizers


def loaded(folder: Path, layout: PublicLayout) -> PreTrainedTokenizerBase:
    config = layout.config()
    (folder / "config.json").write_text(json.dumps({"model_type": config.model_type}))
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreTrainedTokenizerBase]:
    root = tmp_path_factory.mktemp("tokenizers")
    gpt2_tokenizer(root / "gpt2", TEXTS)
    llama_tokenizer(root / "llama", TEXTS, ("[PAD]", "<|bocot|>", "<|eocot|>"))
    return {name: loaded(root / name, PUBLIC[of]) for name, of in (("gpt2", GPT2), ("llama", LLAMA))}


def test_vocabularies_have_the_real_sizes_and_control_tokens(
    tokenizers: dict[str, PreTrainedTokenizerBase],
) -> None:
    gpt2, llama = tokenizers["gpt2"], tokenizers["llama"]
    assert (len(gpt2), gpt2.eos_token_id, gpt2.pad_token_id) == (50_257, 50_256, None)
    assert gpt2("a").input_ids == gpt2("a", add_special_tokens=False).input_ids
    assert len(llama) == 128_256 + 3
    assert (llama.bos_token_id, llama.eos_token_id, llama.pad_token_id) == (128_000, 128_009, 128_004)
    assert llama("a").input_ids[0] == 128_000
    assert llama.convert_tokens_to_ids("<|eocot|>") == 128_258


def test_numbers_are_cut_by_the_real_rules(tokenizers: dict[str, PreTrainedTokenizerBase]) -> None:
    """GPT-2: a blank goes with the number; Llama 3: three digits a token, a blank before them is one."""
    gpt2, llama = tokenizers["gpt2"], tokenizers["llama"]
    assert gpt2.tokenize("12 + 5 = 17")[-4:-1] == ["Ġ+", "Ġ5", "Ġ="]
    assert llama.tokenize("12 + 5 = 17") == ["12", "Ġ+", "Ġ", "5", "Ġ=", "Ġ", "17"]
    assert llama.tokenize("1,600.75") == ["1", ",", "600", ".", "75"]
    assert llama.tokenize("1234567") == ["123", "456", "7"]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_text_of_random_ids_keeps_its_length(
    tokenizers: dict[str, PreTrainedTokenizerBase], name: str
) -> None:
    tokenizer = tokenizers[name]
    words = 50_256 if name == "gpt2" else 128_000
    ids = torch.randint(words, (500,), generator=torch.Generator().manual_seed(0)).tolist()
    again = tokenizer(tokenizer.decode(ids), add_special_tokens=False).input_ids
    assert len(again) == pytest.approx(500, rel=0.1)
