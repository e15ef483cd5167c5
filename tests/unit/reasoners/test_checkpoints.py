"""Public checkpoints: true sizes, merging, what is refused, and where files come from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from reverse_codi.cli.checkpoint import main as print_report
from reverse_codi.processes.environment import MachineError
from reverse_codi.reasoners import load
from reverse_codi.reasoners.checkpoints.convert import convert, converted_folder
from reverse_codi.reasoners.checkpoints.description import Description
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.files import Weights, read_weights, weight_files
from reverse_codi.reasoners.checkpoints.report import Report
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.latent_lm import projection
from reverse_codi.reasoners.load import import_report, load_reasoner, open_reasoner, reasoner_folder
from reverse_codi.recipe.reasoner import Source
from reverse_codi.recipe.rollout import EngineConfig
from reverse_codi.recipe.verbalizer import VerbalizerSection
from reverse_codi.rollout.base import Sampling
from reverse_codi.rollout.transformers_engine import TransformersEngine
from reverse_codi.storage import hub
from reverse_codi.verbalize.config import VerbalizerConfig
from reverse_codi.verbalize.policy import Policy
from tests.tiny import stir
from tests.unit.reasoners.conformance.layouts import (
    CASES,
    QUESTIONS,
    Case,
    gpt2_tokenizer,
    llama_tokenizer,
    make_answer_only,
    make_coconut,
    make_codi_gpt2,
    make_codi_llama,
    make_sim_cot_coconut,
    make_sim_cot_codi,
    with_lora,
)

RECIPE = Path(__file__).parents[3] / "recipes/tiny.yaml"
EMBEDDED_HASH = "06f95388158c"
GPT2_V, LLAMA_V = 50_257, 128_256


# ---- true sizes, without memory


def full(tokenizer, size: int):
    """A tokenizer with so many tokens."""
    tokenizer.add_tokens([f"<filler {i}>" for i in range(size - len(tokenizer))])
    return tokenizer


def true_size(config: GPT2Config | LlamaConfig, rows: int, hidden: int, tokenizer) -> Report:
    """Account for a CODI checkpoint of full width whose tensors take no memory."""
    described = type(config).from_dict(config.to_dict())
    config.vocab_size = rows
    with torch.device("meta"):
        plain = dict(AutoModelForCausalLM.from_config(config).state_dict())
        prj = projection(config.hidden_size, hidden).state_dict()
    del plain["lm_head.weight"]
    tensors = {f"codi.base_model.model.{n}": t for n, t in with_lora(config, plain, 128).items()}
    tensors |= {f"prj.{name}": tensor for name, tensor in prj.items()}
    file = Path("pytorch_model.bin")
    weights = Weights(tensors, dict.fromkeys(tensors, file), (file,))
    description = Description(described, tokenizer, Path("base"), Path("base"))
    converted = convert(Source(path="zen-E/CODI-gpt2"), weights, description)
    assert {name for name in converted.model if "lora" in name or "base_layer" in name} == set()
    assert {name: t.shape for name, t in converted.model.items()} == {n: t.shape for n, t in plain.items()}
    return converted.report


def test_codi_gpt2_has_the_published_parameters_and_keys() -> None:
    report = true_size(GPT2Config(), GPT2_V + 3, 768, full(gpt2_tokenizer(), GPT2_V))
    assert report.n_total == 144_499_200
    assert report.n_lora + report.n_projection == 20_057_088
    assert len(report.merged) == 12 * 4  # c_attn, two c_proj and c_fc a layer
    assert report.n_tensors == 148 + 2 * 48 + 6
    assert (report.rank, report.alpha) == (128, 32)
    assert {"transformer.h.0.attn.c_attn", "transformer.h.11.mlp.c_proj"} < set(report.merged)
    assert (report.prompting["bot_id"], report.prompting["eot_id"]) == (GPT2_V + 1, GPT2_V + 2)
    assert "W + (B @ A) * 0.25" in str(report)
    assert "144,499,200 in all" in str(report)


def test_codi_llama_1b_at_true_size() -> None:
    shape = {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    }
    tokenizer = full(llama_tokenizer(), LLAMA_V)
    report = true_size(LlamaConfig(vocab_size=LLAMA_V, **shape), LLAMA_V + 3, 2048, tokenizer)
    # Llama-3.2-1B has 1,235,814,400; three rows more.
    assert report.n_base == 1_235_814_400 + 3 * 2048
    # q and o 2 x (2048 + 2048), k and v 2 x (2048 + 512), gate, up and down 3 x (2048 + 8192)
    assert report.n_lora == 16 * 128 * (2 * 4096 + 2 * 2560 + 3 * 10_240)
    assert report.n_projection == 2 * (2048 * 2048 + 2048) + 2 * 2048
    assert len(report.merged) == 16 * 7
    assert "model.layers.15.mlp.gate_proj" in report.merged
    assert report.prompting["begin_ids"] != []
    assert report.prompting["cue"] == "The answer is: "


@torch.no_grad()
def test_merged_weights_give_what_unmerged_ones_do(tmp_path: Path) -> None:
    """W + (B @ A) * alpha / rank, transposed in GPT-2's Conv1D, against x W + (x A) B * alpha / rank."""
    case = make_codi_gpt2(tmp_path)
    reasoner = load_reasoner(case.source)
    layer = reasoner.lm.get_submodule("transformer.h.1.attn.c_attn")
    at = "codi.base_model.model.transformer.h.1.attn.c_attn"
    x = torch.randn(5, 16)
    low = x @ case.tensors[f"{at}.lora_A.default.weight"].T @ case.tensors[f"{at}.lora_B.default.weight"].T
    weight, bias = (case.tensors[f"{at}.base_layer.{kind}"] for kind in ("weight", "bias"))
    torch.testing.assert_close(layer(x), x @ weight + bias + 0.25 * low, atol=1e-5, rtol=1e-5)


# ---- reports


def test_the_report_says_what_was_merged_and_set_aside(tmp_path: Path) -> None:
    case = make_sim_cot_codi(tmp_path)
    folder = reasoner_folder(case.source)
    report = import_report(folder)
    assert report is not None
    assert report.layout == "codi (CODI)"
    assert report.aside == {
        "auxiliary decoder of SIM-CoT": 20,  # 9 a layer, embedding and last norm
        "auxiliary decoder's input projection of SIM-CoT": 2,
        "auxiliary decoder's output projection of SIM-CoT": 1,
    }
    assert (
        report.n_aside == 2 * (16 * 16 * 2 + 16 * 8 * 2 + 3 * 16 * 24 + 2 * 16) + 50 * 16 + 16 + 2 * 256 + 16
    )
    assert report.config_from == case.source.base
    assert report.tokenizer_from == case.source.path
    assert reasoner_folder(case.source) == folder  # not made twice
    assert "set aside      20 tensors: auxiliary decoder of SIM-CoT" in str(report)
    assert import_report(reasoner_folder("embedded")) is None


def test_the_command_prints_the_report_and_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = make_answer_only(tmp_path)
    said = {
        key: getattr(case.source, key) for key in ("path", "base", "n_thoughts", "lora_alpha", "converted")
    }
    words = [word for key, value in said.items() for word in (f"--reasoner.{key}", str(value))]
    print_report([str(RECIPE), *words])
    printed = capsys.readouterr().out
    assert "layout         codi-tokens (CODI)" in printed
    assert "merged LoRA    14 modules, rank 4, alpha 1: W + (B @ A) * 0.25" in printed
    assert f"loaded from    {said['converted']}/answer-only-" in printed
    case.file.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=f"^{case.file} is "):
        print_report([str(RECIPE), *words])


def test_where_answers_stand_is_the_layouts_to_say_or_the_recipes(tmp_path: Path) -> None:
    cues = {
        make_codi_gpt2: "The answer is:",
        make_codi_llama: "The answer is: ",
        make_answer_only: "",
        make_coconut: "###",
    }
    for make, cue in cues.items():
        case = make(tmp_path / make.__name__)
        assert load_reasoner(case.source).answer_cue == cue
    alone = case.source.model_copy(update={"answer_cue": ""})
    assert load_reasoner(alone).answer_cue == ""
    llama = make_codi_llama(tmp_path / "other").source
    assert load_reasoner(llama.model_copy(update={"answer_cue": ""})).answer_cue == ""
    assert load_reasoner(llama.model_copy(update={"answer_cue": "Result:"})).answer_cue == "Result: "


def test_lengths_of_answers_and_solutions_can_be_said(tmp_path: Path) -> None:
    source = make_codi_gpt2(tmp_path).source
    config = load_reasoner(source).config
    assert (config.max_answer_tokens, config.max_written_tokens) == (32, 256)
    short = load_reasoner(source.model_copy(update={"max_answer_tokens": 9, "max_written_tokens": 40})).config
    assert (short.max_answer_tokens, short.max_written_tokens) == (9, 40)


def test_coconut_keeps_no_projection_and_its_tokens(tmp_path: Path) -> None:
    reasoner = load_reasoner(make_sim_cot_coconut(tmp_path).source)
    assert list(reasoner.model.prj.parameters()) == []
    size = len(gpt2_tokenizer())
    assert (reasoner.config.bot_id, reasoner.config.eot_id) == (size, size + 1)  # start and end, then latent
    chains = reasoner.think(QUESTIONS[:1])
    assert torch.equal(chains.latent_inputs, chains.hidden_states[:, :-1])
    folder = reasoner_folder(make_coconut(tmp_path).source)
    assert not (folder / "projection.safetensors").exists()


def table(tensors: dict[str, Tensor]) -> Tensor:
    return next(t for name, t in tensors.items() if name.endswith(("wte.weight", "embed_tokens.weight")))


def test_the_converted_folder_serves_a_verbalizer(tmp_path: Path) -> None:
    case = make_codi_gpt2(tmp_path)
    reasoner, folder = load_reasoner(case.source), reasoner_folder(case.source)
    section = VerbalizerSection(rank=2, alpha=4, target_modules=["c_attn", "c_proj", "c_fc"])
    verbalizer_config = VerbalizerConfig(
        n_slots=1,
        n_vocab=len(table(case.tensors)),
        reasoner_hash=reasoner.content_hash,
        tokenizer_hash=reasoner.tokenizer_hash,
    )
    policy = Policy.new(reasoner, section, verbalizer_config)
    stir(policy)
    policy.save(tmp_path / "policy")
    engine = TransformersEngine(folder, EngineConfig(kind="transformers"))
    engine.load_policy(tmp_path / "policy", 1)
    prompt = reasoner.think(QUESTIONS[:1]).latent_inputs[0, :1]  # one slot, z0
    [rollout] = engine.generate([prompt], 1, Sampling(max_new_tokens=4, temperature=0))
    merged = policy.model.get_base_model()
    with torch.no_grad():
        ids: list[int] = []
        for _ in rollout.token_ids:
            embeds = torch.cat([prompt, reasoner.model.embed(torch.tensor(ids, dtype=torch.long))])
            ids.append(int(merged(inputs_embeds=embeds[None]).logits[0, -1].argmax()))
    assert ids == rollout.token_ids.tolist()


# ---- bad input


def rewrite(case: Case, fix: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the tensors of a case's file."""
    tensors = read_weights([case.file]).tensors
    fix(tensors)
    if case.file.suffix == ".safetensors":
        save_file(tensors, case.file)
    else:
        torch.save(tensors, case.file)


def refused(case: Case, message: str) -> None:
    """Loading fails with the message, and leaves nothing behind."""
    with pytest.raises(CheckpointError, match=message):
        load_reasoner(case.source)
    converted = Path(case.source.converted)
    assert not converted.exists() or list(converted.iterdir()) == []


AT = "codi.base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("fix", "message"),
    [
        (
            lambda t: t.pop(f"{AT}.lora_B.default.weight"),
            rf"{AT}.lora_B.default.weight is missing: half of a LoRA",
        ),
        (
            lambda t: t.pop(f"{AT}.base_layer.weight"),
            rf"{AT}.base_layer.weight is missing: its LoRA has nothing",
        ),
        (
            lambda t: [t.pop(f"{AT}.lora_{side}.default.weight") for side in "AB"],
            rf"{AT}.lora_A.default.weight is missing, though",
        ),
        (
            lambda t: t.update({f"{AT}.lora_A.default.weight": torch.zeros(4, 15)}),
            r"lora_A.default.weight \(4, 15\) and lora_B \(16, 4\) do not multiply to the \(16, 16\)",
        ),
        (
            lambda t: t.update({f"{AT}.lora_A.other.weight": torch.zeros(4, 16)}),
            "lora_A.other.weight is unknown",
        ),
        (
            lambda t: t.update(
                {"codi.base_model.model.model.layers.9.x.lora_A.default.weight": torch.zeros(4, 16)}
            ),
            "layers.9.x.lora_B.default.weight is missing",
        ),
        (lambda t: t.pop("prj.ln.weight"), "prj.ln.weight is missing"),
        (lambda t: t.update({"prj.4.weight": torch.zeros(16)}), "prj.4.weight is unknown"),
        (
            lambda t: t.update({"prj.3.weight": torch.zeros(16, 5)}),
            r"prj.3.weight has shape \(16, 5\), not \(16, 12\)",
        ),
        (lambda t: t.update({"stranger": torch.zeros(2)}), "1 unknown tensors .*model.safetensors: stranger"),
        (
            lambda t: t.pop("codi.base_model.model.model.embed_tokens.weight"),
            "embed_tokens.weight is missing",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, fix, message: str) -> None:
    case = make_codi_llama(tmp_path)
    rewrite(case, fix)
    refused(case, message)


def test_a_file_of_no_layout_says_what_was_looked_for(tmp_path: Path) -> None:
    case = make_codi_llama(tmp_path)
    save_file({"model.embed_tokens.weight": torch.zeros(2, 2)}, case.file)
    wanted = re.escape("CODI: codi.base_model.model.*; Coconut: base_causallm.*")
    refused(case, rf"{case.file}.*{wanted}; found 1 others \(model.embed_tokens.weight")


def test_coconuts_second_embedding_must_say_the_same(tmp_path: Path) -> None:
    case = make_coconut(tmp_path)
    rewrite(case, lambda t: t.update({"embedding.weight": torch.zeros_like(table(t))}))
    refused(case, "checkpoint_28: embedding.weight is no copy of base_causallm.transformer.wte.weight")


class Code:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    case = make_codi_gpt2(tmp_path)
    torch.save({"codi.base_model.model.x": torch.zeros(1), "evil": Code()}, case.file)
    refused(case, rf"{case.file} is a pickle that holds more than tensors and may run code: it is not loaded")
    assert not (tmp_path / "ran").exists()


def test_a_torch_file_of_something_else_is_named(tmp_path: Path) -> None:
    case = make_codi_gpt2(tmp_path)
    torch.save({"epoch": 3}, case.file)
    refused(case, rf"{case.file}: epoch is a int, not a tensor")
    torch.save([torch.zeros(1)], case.file)
    refused(case, "holds a list, not tensors by name")


def test_an_empty_config_asks_for_the_base(tmp_path: Path) -> None:
    case = make_sim_cot_codi(tmp_path)
    without = replace(case, source=case.source.model_copy(update={"base": None}))
    refused(without, r"sim-codi/config.json names no model_type; name the base model in reasoner.base")


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    case = make_codi_llama(tmp_path)
    rows = len(table(case.tensors))
    tokenizer = llama_tokenizer()
    tokenizer.add_tokens(["<one more>", "<and one>"])
    tokenizer.save_pretrained(case.source.path)
    refused(case, rf"codi-llama: the tokenizer has {rows - 1} tokens, the checkpoint's embedding {rows} rows")
    wrong = case.config.to_dict() | {"vocab_size": 50}
    Path(case.source.path, "config.json").write_text(json.dumps(wrong))
    refused(case, rf"the base model has 50 token ids, the checkpoint's embedding {rows} rows; CODI appends 3")


def test_a_missing_token_and_another_familys_layout_are_named(tmp_path: Path) -> None:
    case = make_codi_llama(tmp_path)
    asked = replace(case, source=case.source.model_copy(update={"layout": "codi-tokens"}))
    refused(asked, r"the tokenizer lacks <\|bocot\|> and <\|eocot\|>")
    asked = replace(case, source=case.source.model_copy(update={"layout": "coconut"}))
    refused(asked, "reasoner.layout = 'coconut', but the keys are those of CODI")
    asked = replace(case, source=case.source.model_copy(update={"layout": "codo"}))
    refused(asked, "reasoner.layout = 'codo' is unknown; choose from: auto, own, codi, codi-tokens, coconut")


def test_the_answer_only_layout_needs_a_row_for_every_token(tmp_path: Path) -> None:
    case = make_answer_only(tmp_path)
    rewrite(
        case, lambda t: t.update({name: x[:-1] for name, x in t.items() if name.endswith("tokens.weight")})
    )
    rows = len(table(case.tensors))
    refused(case, rf"the tokenizer has {rows} tokens, the checkpoint's embedding {rows - 1} rows")


# ---- files


def test_weight_files_prefer_safetensors_and_need_every_shard(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    (tmp_path / "training_args.bin").touch()
    assert weight_files(tmp_path) == [tmp_path / "pytorch_model.bin"]
    (tmp_path / "model.safetensors").touch()
    assert weight_files(tmp_path) == [tmp_path / "model.safetensors"]
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "model-1-of-2.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"model-2-of-2.safetensors is missing, though"):
        weight_files(tmp_path)
    (tmp_path / "model-2-of-2.safetensors").touch()
    assert [file.name for file in weight_files(tmp_path)] == list(index["weight_map"].values())


def test_one_of_several_checkpoints_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no weights: looked for"):
        weight_files(tmp_path)
    for epoch in (1, 2):
        (tmp_path / f"checkpoint_{epoch}").touch()
    with pytest.raises(
        CheckpointError, match=r"several checkpoints \(checkpoint_1, checkpoint_2\); name one"
    ):
        weight_files(tmp_path)
    assert weight_files(tmp_path / "checkpoint_1") == [tmp_path / "checkpoint_1"]


def test_a_key_in_two_shards_is_reported(tmp_path: Path) -> None:
    files = [tmp_path / f"model-{i}-of-2.safetensors" for i in (1, 2)]
    for file in files:
        save_file({"twice": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match=rf"twice stands in {files[0]} and in {files[1]}"):
        read_weights(files)


def test_a_changed_checkpoint_is_converted_anew(tmp_path: Path) -> None:
    case = make_codi_llama(tmp_path)
    first = converted_folder(case.source, Path(case.source.path))
    rewrite(case, lambda t: t.update({"prj.ln.bias": torch.ones(16)}))
    second = converted_folder(case.source, Path(case.source.path))
    assert first != second
    assert load_reasoner(first).content_hash != load_reasoner(second).content_hash


# ---- the hub


def test_a_hub_id_is_fetched_without_code_and_the_base_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_codi_gpt2(tmp_path)
    calls = []

    def download(repo: str, repo_type: str, revision: str | None, allow_patterns: list[str]) -> str:
        calls.append((repo, revision, allow_patterns))
        return {"zen-E/CODI-gpt2": case.source.path, "openai-community/gpt2": str(case.source.base)}[repo]

    monkeypatch.setattr(hub, "snapshot_download", download)
    said = {"path": "zen-E/CODI-gpt2", "base": "openai-community/gpt2", "revision": "fd641b3"}
    reasoner = load_reasoner(case.source.model_copy(update=said))
    assert reasoner.content_hash == load_reasoner(case.source).content_hash
    (checkpoint, revision, patterns), (base, _, described) = calls
    assert (checkpoint, revision, base) == ("zen-E/CODI-gpt2", "fd641b3", "openai-community/gpt2")
    assert "*.bin" in patterns
    assert not {"*.py"} & {*patterns, *described}
    assert not {"*.bin", "*.safetensors"} & set(described)


def test_a_hub_that_cannot_be_reached_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo: str, repo_type: str, revision: str | None, allow_patterns: list[str]) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(hub, "snapshot_download", download)
    with pytest.raises(
        CheckpointError, match=r"reasoner.path = 'no/where' is no folder here, and the hub gave"
    ):
        load_reasoner("no/where")


# ---- the one entry


def test_the_embedded_reasoner_and_its_recipes_keep_their_hashes() -> None:
    assert load_reasoner("embedded").content_hash.startswith(EMBEDDED_HASH)
    # A field that came later is recorded, and so hashed, only where it says something.
    config = load_reasoner("embedded").config
    assert list(config.recorded()) == list(replace(config, begin_ids=()).recorded())
    assert "begin_ids" in replace(config, begin_ids=(1,)).recorded()


@torch.no_grad()
@pytest.mark.parametrize("make", [make_codi_gpt2, make_codi_llama])
def test_reference_masking_is_the_published_procedure(tmp_path: Path, make: Callable[[Path], Case]) -> None:
    """Padding masked while the question and bot are read, positions unsaid, no mask from then on."""
    case = make(tmp_path)
    plain = load_reasoner(case.source)
    seeing = load_reasoner(case.source.model_copy(update={"reference_masking": True}))
    assert seeing.content_hash != plain.content_hash
    chains = seeing.think(QUESTIONS)

    rows = [[*seeing.question_ids(question), seeing.config.bot_id] for question in QUESTIONS]
    ids, mask = seeing.left_padded(rows)
    out = seeing.lm(input_ids=ids, attention_mask=mask, use_cache=True, output_hidden_states=True)
    for k in range(seeing.n_thoughts + 1):
        h = out.hidden_states[-1][:, -1:]
        torch.testing.assert_close(chains.hidden_states[:, k], h[:, 0], atol=1e-4, rtol=1e-4)
        out = seeing.lm(
            inputs_embeds=seeing.model.prj(h),
            past_key_values=out.past_key_values,
            use_cache=True,
            output_hidden_states=True,
        )
    # The longest question has no padding: nothing changes for it, and something does for the others.
    ours = plain.think(QUESTIONS)
    lengths = [len(row) for row in rows]
    longest, shortest = lengths.index(max(lengths)), lengths.index(min(lengths))
    torch.testing.assert_close(
        chains.hidden_states[longest], ours.hidden_states[longest], atol=1e-4, rtol=1e-4
    )
    assert not torch.allclose(chains.hidden_states[shortest], ours.hidden_states[shortest], atol=1e-2)


@pytest.mark.parametrize(
    "said", [{"reference_masking": True}, {"n_thoughts": 3}, {"lora_alpha": 16}, {"dtype": "bfloat16"}]
)
def test_what_the_own_format_says_of_itself_is_not_given(said: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match=rf"reasoner.{next(iter(said))} = .* is for public checkpoints"):
        load_reasoner(Source(**said))


class Echo:
    """A backend of another package."""

    def recognises(self, checkpoint: Path) -> bool:
        return (checkpoint / "echo.txt").is_file()

    def load(self, checkpoint: Path, source: Source, device: str) -> object:
        cue = {} if source.layout == "auto" else {"answer_cue": ""}
        return SimpleNamespace(loaded=f"{checkpoint.name} on {device}", **cue)


def test_other_packages_add_backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("echo", f"{__name__}:ECHO", load.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Echo())
    monkeypatch.setattr(load, "entry_points", lambda group: [entry] if group == load.GROUP else [])
    load.backends.cache_clear()
    (tmp_path / "echo.txt").touch()
    named = Source(path=str(tmp_path), layout="echo")
    with pytest.raises(
        MachineError, match=r"device = cuda, but torch .* finds no GPU on this machine; set it to cpu"
    ):
        open_reasoner(named, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert vars(open_reasoner(named, "cuda"))["loaded"] == f"{tmp_path.name} on cuda"
    with pytest.raises(CheckpointError, match="SimpleNamespace has no answer_cue; give it the words"):
        open_reasoner(tmp_path)  # found without being named
    with pytest.raises(
        CheckpointError, match="is a SimpleNamespace: it thinks and reads, but translation is"
    ):
        load_reasoner(named)
    assert isinstance(open_reasoner("embedded"), CodiReasoner)
    monkeypatch.undo()
    load.backends.cache_clear()


def test_every_case_of_the_conformance_suite_is_named_after_a_layout() -> None:
    assert {"own", "codi-gpt2", "codi-llama-answer-only", "coconut-gpt2"} < set(CASES)
