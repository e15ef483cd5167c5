from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, LlamaConfig

from reverse_codi.cli.train import main as train_main
from reverse_codi.errors import RecipeError
from reverse_codi.processes.memory import GIB, Peak
from reverse_codi.reading.reader import CHUNK
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.recipe.verbalizer import VerbalizerSection
from reverse_codi.training import plan_check
from reverse_codi.training.holding import Holding, Plan
from reverse_codi.training.memory_log import MEMORY, MemoryLog
from reverse_codi.training.model_sizes import ModelSizes
from reverse_codi.training.plan import plan
from reverse_codi.training.plan_check import check_gpus, check_host, planned_run, shared_gpus
from reverse_codi.training.plan_table import summary, tables, write_plan
from reverse_codi.training.plan_trainer import CLAIM_TOKENS, QUESTION_TOKENS, reading_pass
from reverse_codi.training.run_folder import RunFolder
from reverse_codi.training.sync_choice import choice, settled, vllm_is_slow
from reverse_codi.utils.tables import Table
from tests.tiny import make_tiny_policy

GPT2 = VerbalizerSection(rank=32, target_modules=["c_attn", "c_proj", "c_fc"])


def sizes_of_gpt2() -> ModelSizes:
    return ModelSizes.of_config(GPT2Config(), 6, GPT2)


def sizes_of_embedded() -> ModelSizes:
    sizes = ModelSizes.of(recipe())
    assert sizes is not None
    return sizes


def sizes_of_llama_1b() -> ModelSizes:
    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=True,
        dtype=torch.bfloat16,
    )
    return ModelSizes.of_config(config, 6, VerbalizerSection(rank=32))


def recipe(**overrides: Any) -> Recipe:
    return Recipe.load("tiny", **{"log.report_to": [], **overrides})


# ---- sizes


def test_sizes_of_the_public_models() -> None:
    gpt2, llama = sizes_of_gpt2(), sizes_of_llama_1b()
    assert gpt2.n_parameters == 124_439_808
    assert llama.n_parameters == 1_235_814_400
    assert gpt2.n_targeted == 12 * (12 * 768 * 768 + 9 * 768)  # weights and biases of four layers a block
    assert gpt2.n_lora == 12 * 32 * (768 * 4 + 768 * 2 + 768 * 5 + 768 * 5)
    assert (gpt2.weights, llama.weights) == (4 * gpt2.n_parameters, 2 * llama.n_parameters)
    assert (gpt2.kv_width, llama.kv_width) == (768, 512)
    assert llama.kv(1) == 2 * 16 * 512 * 2
    assert (gpt2.takes_lora, llama.takes_lora) == (False, True)


def test_sizes_are_those_of_the_model_itself(tmp_path: Path) -> None:
    reasoner = load_reasoner("embedded")
    policy = make_tiny_policy(reasoner, rank=32)
    sizes = ModelSizes.of(recipe())
    assert sizes is not None
    own = [weight for name, weight in policy.model.named_parameters() if "lora_" not in name]
    assert sizes.n_parameters == sum(weight.numel() for weight in own)
    assert sizes.n_lora == sum(w.numel() for name, w in policy.model.named_parameters() if "lora_" in name)
    assert (sizes.n_thoughts, sizes.n_layers) == (reasoner.n_thoughts, reasoner.lm.config.num_hidden_layers)


def test_what_a_pass_keeps_is_what_a_real_one_keeps() -> None:
    """Counted without data, against tensors that exist."""
    policy = make_tiny_policy(load_reasoner("embedded"), rank=32)
    own = {weight.untyped_storage().data_ptr() for weight in policy.model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.randint(0, 100, (8, 32))
    mask = torch.ones_like(ids)
    mask[0, 0] = 0
    policy.model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy.model.get_base_model().base_model(input_ids=ids, attention_mask=mask, use_cache=False)
    real = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own) / ids.numel()
    sizes = ModelSizes.of(recipe())
    assert sizes is not None
    assert sizes.kept == pytest.approx(real, rel=0.05)


def test_layers_that_the_model_lacks_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    wrong = recipe(**{"verbalizer.target_modules": ["c_attn"], "train.out": str(tmp_path / "run")})
    with pytest.raises(
        RecipeError, match=r"target_modules names c_attn, which this llama model lacks.*q_proj"
    ):
        RunFolder.begin(wrong)
    assert not list(tmp_path.iterdir())


def test_a_dry_run_shows_the_plan_and_refuses_what_cannot_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["tiny", "--dry-run", "--grpo.micro_batch", "2048", "--trace.n", "3000"]
    train_main(words)
    assert "memory of each process" in capsys.readouterr().out
    monkeypatch.setattr(plan_check, "machine", lambda: 1.5)
    with pytest.raises(
        RecipeError, match=r"this run takes .*there are 1\.5: trainer: grpo takes .*micro_batch"
    ):
        train_main(words)
    assert "memory of each process" in capsys.readouterr().out


def test_a_reasoner_that_is_not_here_has_no_plan() -> None:
    assert planned_run(recipe(**{"reasoner.path": "nobody/nothing", "task.name": "gsm8k"})) is None


def test_a_base_that_is_here_gives_the_plan_of_a_reasoner_that_is_not(tmp_path: Path) -> None:
    GPT2Config().save_pretrained(tmp_path)
    source = {"reasoner.path": "zen-E/CODI-gpt2", "reasoner.base": str(tmp_path)}
    asked = Recipe.load("codi-gpt2", **source)
    found = ModelSizes.of(asked)
    assert found is not None
    assert (found.n_vocab, found.n_thoughts) == (50_257 + 3, 6)
    assert planned_run(asked) is not None


# ---- the plan


def test_what_makes_a_plan_larger() -> None:
    sizes = ModelSizes.of(recipe())
    assert sizes is not None

    def trainer(stage: str, **overrides: Any) -> dict[str, float]:
        [holding] = [h for h in plan(recipe(**overrides), sizes).holdings if h.name == f"trainer: {stage}"]
        return holding.parts

    part, twice = trainer("grpo", **{"grpo.micro_batch": 64}), trainer("grpo", **{"grpo.micro_batch": 128})
    assert twice["logits"] == 2 * part["logits"]
    assert twice["activations"] == 2 * part["activations"]
    assert twice["weights"] == part["weights"] == sizes.weights
    whole = trainer("grpo", **{"grpo.micro_batch": 2048})
    assert trainer("grpo") == whole  # auto leaves the embedded model's batches whole
    assert whole["logits"] < 32 * part["logits"]  # of which one tile is held at once
    saving = trainer("grpo", **{"grpo.gradient_checkpointing": True})
    assert saving["activations"] < whole["activations"]
    assert (
        trainer("warm start", **{"warm_start.batch_size": 512})["activations"]
        > trainer("warm start")["activations"]
    )
    assert trainer("reading", **{"reading.traces": 2000})["features"] < trainer("reading")["features"]


def test_a_gpu_reads_more_at_once_than_a_cpu() -> None:
    sizes = sizes_of_llama_1b()
    given = recipe(**{"reading.spec.prefix": "question"})
    of_token = 17 * 2_048
    here, there = (reading_pass(given, sizes, CHUNK, on_gpu) for on_gpu in (False, True))
    # In float32 the states of a chunk's texts alone, and as the model has them those of their questions too.
    assert here < 4 * GIB
    assert there > CHUNK * of_token * (4 * CLAIM_TOKENS + 2 * (CLAIM_TOKENS + QUESTION_TOKENS))
    assert reading_pass(given, sizes, 4 * CHUNK, True) == reading_pass(given, sizes, 8 * CHUNK, True)
    assert reading_pass(given, sizes, 32, True) < there / 15


def test_each_stage_and_actor_is_planned_for() -> None:
    sizes = sizes_of_gpt2()
    names = [holding.name for holding in plan(recipe(), sizes).holdings]
    stages = ("traces", "reading", "warm start", "grpo", "verbalizer")
    assert names == [*(f"trainer: {stage}" for stage in stages), "rollout", "reward"]
    supervised = plan(recipe(**{"grpo.steps": 0}), sizes)
    assert [holding.process for holding in supervised.holdings] == ["trainer"] * 4
    searched = recipe(reinforce=[{"times": 2, "search": {}, "distil": {}}])
    held = {h.name: h.parts for h in plan(searched, sizes).holdings}
    assert list(held)[3:] == [
        *(
            f"trainer: {stage}"
            for stage in ("01-search", "02-distil", "03-search", "04-distil", "verbalizer")
        ),
        "rollout",
        "reward",
    ]
    twice = searched.model_copy(
        update={"trace": searched.trace.model_copy(update={"n": 2 * searched.trace.n})}
    )
    more = {h.name: h.parts for h in plan(twice, sizes).holdings}
    grown = more["trainer: 01-search"]["features"] - held["trainer: 01-search"]["features"]
    # a search compares its texts with every thought, which is there as it was, as the prompt has it, whitened
    assert grown == 3 * 4 * searched.trace.n * sizes.n_thoughts * sizes.width


def held(process: str, count: int, gpus: float, mapped: float = 0) -> Holding:
    parts = {"libraries": GIB, "weights": 10 * GIB}
    return Holding(process, "", count, gpus > 0, gpus, parts, mapped, key="some.key")


def test_pages_of_the_reasoners_file_count_once_a_machine() -> None:
    apart = Plan([held("trainer", 1, 0), held("reward", 3, 0)])
    shared = Plan([held("trainer", 1, 0, 10 * GIB), held("reward", 3, 0, 10 * GIB)])
    assert (apart.host, shared.host) == (44 * GIB, 14 * GIB)


def test_a_gpu_is_shared_by_the_trainer_and_what_ray_places() -> None:
    def held(process: str, count: int, gpus: float) -> Holding:
        return Holding(
            process, "", count, True, gpus, {"libraries": GIB, "weights": 10 * GIB}, key="some.key"
        )

    planned = Plan([held("trainer", 1, 1), held("rollout", 2, 0.5), held("reward", 1, 0.5)])
    names = [[holding.process for holding in gpu] for gpu in shared_gpus(planned, 2)]
    assert names == [["trainer", "rollout", "rollout"], ["reward"]]
    check_gpus(planned, each=32, count=2)
    with pytest.raises(RecipeError, match=r"31\.5 GiB on GPU 0, which has 20\.0.*lower reasoner\.dtype"):
        check_gpus(planned, each=20, count=2)


def test_several_trainers_share_a_batch_and_the_pages_of_the_weights() -> None:
    sizes = sizes_of_gpt2()

    def stages(workers: int, rows: int) -> dict[str, Holding]:
        batch = {"warm_start.micro_batch": 256, "warm_start.batch_size": rows, "train.workers": workers}
        return {h.stage: h for h in plan(recipe(**batch), sizes).holdings if h.process == "trainer"}

    shared = stages(2, 256)
    counts = {"traces": 1, "reading": 1, "warm start": 2, "grpo": 2, "verbalizer": 1}
    assert {name: held.count for name, held in shared.items()} == counts
    assert shared["warm start"].parts == stages(1, 128)["warm start"].parts
    one, two = (Plan([dataclasses.replace(shared["grpo"], count=n)]).host for n in (1, 2))
    assert two == one + shared["grpo"].host - shared["grpo"].mapped


def test_trainers_that_ray_places_are_spread_over_gpus() -> None:
    trainers = Holding("trainer", "grpo", 2, True, 1.0, {"libraries": GIB, "weights": GIB})
    assert shared_gpus(Plan([trainers]), 2) == [[trainers], [trainers]]


def test_too_little_memory_names_what_takes_most_and_its_key() -> None:
    asked = recipe(**{"grpo.samples": 64, "grpo.micro_batch": 16_384})
    large = plan(asked, sizes_of_llama_1b())
    with pytest.raises(RecipeError, match=r"trainer: grpo takes .* activations; lower grpo\.micro_batch"):
        check_host(large, has=24)
    check_host(large, has=None)
    check_host(large, has=1e6)
    with pytest.raises(RecipeError, match="this run takes"):
        check_host(large, has=24, trainer_alone=True)


def test_the_table_and_the_file_say_the_same(tmp_path: Path) -> None:
    planned = planned_run(recipe())
    assert planned is not None
    shown = [table for table in tables(planned) if isinstance(table, Table)]
    assert all(table.rows[-1][0] == "sum" for table in shown)
    sums = [cell for table in shown for cell in table.rows[-1][1:]]
    assert sums == [f"{h.host / GIB:.2f}" for h in planned.holdings]
    write_plan(planned, tmp_path)
    written = json.loads((tmp_path / "plan.json").read_text())
    for holding in planned.holdings:
        whole, parts = written["peaks"][holding.name], written["parts"][holding.name]
        assert sum(parts.values()) == pytest.approx(whole, abs=0.005)
    assert summary(planned, 24.0).startswith(f"memory: {planned.host / GIB:.1f} GiB of 24.0")


def test_measured_stands_beside_planned(tmp_path: Path) -> None:
    planned = planned_run(recipe())
    assert planned is not None
    write_plan(planned, tmp_path)
    log = MemoryLog(tmp_path)
    with log.stage("traces"):
        pass
    log.actors("grpo", {"reward 1": Peak(0.5)})
    lines = [json.loads(line) for line in (tmp_path / MEMORY).read_text().splitlines()]
    assert [(line["stage"], line["process"]) for line in lines] == [
        ("traces", "trainer"),
        ("grpo", "reward 1"),
    ]
    assert [line["planned_gib"] for line in lines] == [
        planned.peaks["trainer: traces"],
        planned.peaks["reward"],
    ]
    assert lines[0]["peak_gib"] > 0
    assert lines[1]["peak_gib"] == 0.5


def test_the_plan_is_within_a_fifth_of_what_was_measured() -> None:
    """Of the table in docs/performance.md: its rows, and that the embedded model's are this plan's."""
    page = (Path(__file__).parents[3] / "docs/performance.md").read_text()
    rows = re.findall(r"^\| ((?:embedded|CODI)[^|]*) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(rows) == 20
    for name, planned, measured in rows:
        assert float(planned) == pytest.approx(float(measured), rel=0.2), name
    command = re.search(r"first six rows are `reverse-codi train ([^`]*)`", page)
    assert command is not None
    peaks = plan(load_recipe(command.group(1).split()), sizes_of_embedded()).peaks
    assert [float(planned) for _, planned, _ in rows[:6]] == [
        pytest.approx(peaks[name], abs=0.02)
        for name in (
            *(f"trainer: {s}" for s in ("traces", "reading", "warm start", "grpo")),
            "rollout",
            "reward",
        )
    ]


# ---- merged or lora


def on_gpu(**engine: Any) -> Recipe:
    keys = {
        f"rollout.engine.{key}": value
        for key, value in {"device": "cuda", "kind": "vllm", "dtype": "bfloat16", **engine}.items()
    }
    return recipe(**{"rollout.gpus": 0.5, **keys})


def test_auto_is_decided_by_what_a_sync_costs(caplog: pytest.LogCaptureFixture) -> None:
    llama = sizes_of_llama_1b()
    assert choice(recipe(), llama).policy == "merged"  # on a CPU
    assert choice(on_gpu(), llama).policy == "merged"  # 1.8 GiB
    larger = dataclasses.replace(llama, n_targeted=3 * llama.n_targeted)
    assert choice(on_gpu(), larger).policy == "lora"
    assert choice(on_gpu(dtype="float32"), larger).policy == "merged"  # vLLM's kernels refuse it
    assert choice(on_gpu(max_lora_rank=16), larger).policy == "merged"
    assert choice(on_gpu(), dataclasses.replace(larger, takes_lora=False)).policy == "merged"
    with caplog.at_level("INFO"):
        assert settled(on_gpu(), larger).engine.policy == "lora"
        assert settled(on_gpu(policy="merged"), larger).engine.policy == "merged"
    assert len(caplog.records) == 1  # what the recipe says needs no words
    assert "policy: lora (a sync sends 5.44 GiB merged" in caplog.text


def test_a_lora_in_float32_on_a_gpu_is_refused() -> None:
    assert on_gpu(policy="lora").rollout.engine.policy == "lora"
    assert on_gpu(policy="lora", dtype="float32", device="cpu").rollout.engine.policy == "lora"
    with pytest.raises(RecipeError, match=r"policy lora with dtype float32 on a GPU: .* set dtype: bfloat16"):
        on_gpu(policy="lora", dtype="float32")


def test_a_run_says_where_transformers_samples_faster(caplog: pytest.LogCaptureFixture) -> None:
    llama = sizes_of_llama_1b()
    small = dataclasses.replace(llama, n_parameters=1_000_000)
    vllm = recipe(**{"rollout.engine.kind": "vllm", "rollout.engine.policy": "merged"})
    assert vllm_is_slow(vllm.rollout, small) and vllm_is_slow(vllm.rollout, sizes_of_gpt2())
    assert not vllm_is_slow(vllm.rollout, llama) and not vllm_is_slow(vllm.rollout, None)
    assert not vllm_is_slow(on_gpu().rollout, small)
    assert not vllm_is_slow(recipe(**{"rollout.engine.kind": "transformers"}).rollout, small)
    with caplog.at_level("INFO"):
        assert settled(vllm, small).engine.kind == "vllm"
    assert "transformers samples faster than vLLM" in caplog.text
