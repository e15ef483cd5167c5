from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from transformers import GPT2Config

from reverse_codi.cli.distill import main as distill_main
from reverse_codi.cli.evaluate import main as evaluate_main
from reverse_codi.cli.trace import main as trace_main
from reverse_codi.cli.train import main as train_main
from reverse_codi.errors import RecipeError, UserError
from reverse_codi.processes.room import Node
from reverse_codi.reasoners.checkpoints.accounting import skeleton
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.outputs import OutputError
from reverse_codi.storage.stages import StageError, record
from reverse_codi.traces.files import Manifest, StoreError, TraceHeader
from reverse_codi.train import train
from reverse_codi.training import preflight
from reverse_codi.training.model_sizes import linear_layers
from reverse_codi.training.runtime import offered
from reverse_codi.training.stage_folders import (
    READING,
    READING_FILES,
    WARM,
    WARM_FILES,
    reading_settings,
    warm_settings,
)
from reverse_codi.utils.config import override, validated


def made(tmp_path: Path, folders: tuple[Path, Path], *words: str) -> Recipe:
    values: dict[str, Any] = {
        "log": {"report_to": []},
        "reasoner": {"path": str(folders[0])},
        "train": {"out": str(tmp_path / "run")},
        "trace": {"out": str(tmp_path / "traces"), "n": 20, "n_heldout": 10},
        "rollout": {"engine": {"kind": "transformers", "max_model_len": 64}, "cpus": 0.5},
        "reward": {"cpus_per_actor": 0.5},
        "grpo": {"steps": 2, "thoughts_per_step": 4, "samples": 2, "max_new_tokens": 8},
    }
    return validated(Recipe, override(values, words), "recipe")


# One line a way to fail late, with what is to be read at once.
REFUSED = [
    (["--verbalizer.template", "Say it"], r"verbalizer\.template 'Say it' has \{thought\} 0 times"),
    (["--verbalizer.template", "'{thought} {thought}'"], r"has \{thought\} 2 times; write it 1 times"),
    (
        ["--rollout.engine.max_model_len", "4"],
        r"a prompt of 1 and grpo\.max_new_tokens = 8 make 9 tokens, beyond .*\.max_model_len = 4",
    ),
    (
        ["--grpo.max_new_tokens", "300"],
        r"max_new_tokens = 300 make 301 tokens, but the model has 256 positions; lower",
    ),
    (
        ["--rollout.engine.kind", "vllm", "--rollout.engine.max_model_len", "512"],
        r"max_model_len = 512, but the model has 256 positions and vLLM refuses more",
    ),
    (
        ["--rollout.engine.kind", "vllm", "--rollout.engine.policy", "lora", "--verbalizer.rank", "128"],
        r"verbalizer\.rank = 128 exceeds rollout\.engine\.max_lora_rank = 64",
    ),
    (
        ["--rollout.engine.device", "cuda"],
        r"rollout\.engine\.device = cuda, but rollout\.gpus = 0 hides every GPU from the actors",
    ),
    (
        ["--verbalizer.target_modules", "[embed_tokens]"],
        "names embed_tokens; engines take linear layers only",
    ),
    (
        ["--verbalizer.target_modules", "[q_proj, c_attn, c_fc]"],
        r"verbalizer\.target_modules names c_attn, c_fc, which this llama model lacks; its linear layers are "
        r"\[down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj\]$",
    ),
    (["--reading.spec.layers", "0,9"], r"reading\.spec: layers '0,9': this model has 0 to 2"),
    (["--reward.functions", "[{name: brevity, weight: 0}]"], r"every weight in reward\.functions is 0"),
    (
        ["--reward.shape", "rank", "--reward.aggregation", "normalize_then_sum"],
        r"reward\.shape = rank takes the weighted sum .*set that to sum_then_normalize",
    ),
    (
        ["--grpo.advantage", "prefix", "--reward.aggregation", "normalize_then_sum"],
        r"grpo\.advantage = prefix takes the weighted sum",
    ),
    (["--reward.functions", "[{name: brevty}]"], "no reward function is named 'brevty'"),
    (
        ["--grpo.thoughts_per_step", "61"],
        r"grpo\.thoughts_per_step = 61, but there are at most 60 training thoughts .*no step would be taken",
    ),
    (
        ["--grpo.thoughts_per_step", "20", "--grpo.steps_per_generation", "4"],
        r"thoughts_per_step x steps_per_generation = 80, but there are at most 60",
    ),
    # what a stage lays over the section is checked like the section
    (
        ["--reinforce", "[{grpo: {thoughts_per_step: 61}}]"],
        r"grpo\.thoughts_per_step = 61, but there are at most 60 training thoughts",
    ),
    (
        ["--reinforce", "[{grpo: {max_new_tokens: 300}}]"],
        r"max_new_tokens = 300 make 301 tokens, but the model has 256 positions; lower",
    ),
    (
        ["--reinforce", "[{grpo: {advantage: branch}}]", "--reward.aggregation", "normalize_then_sum"],
        r"grpo\.advantage = branch takes the weighted sum",
    ),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_what_would_fail_late_is_refused_by_run_and_dry_run_before_anything_is_written(
    words: list[str], message: str, tmp_path: Path, tiny_folders: tuple[Path, Path]
) -> None:
    recipe = made(tmp_path, tiny_folders, *words)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").write_text("of an earlier run")
    file = tmp_path / "given.yaml"
    file.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    for asked in ([], ["--dry-run"]):
        with pytest.raises(UserError, match=message):
            train_main([str(file), *asked])
    assert (tmp_path / "run/recipe.yaml").read_text() == "of an earlier run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given.yaml", "run"]


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_a_trace_store_of_another_dtype_is_refused_in_one_line_before_any_work(
    words: list[str], tmp_path: Path, tiny_folders: tuple[Path, Path]
) -> None:
    recipe = made(tmp_path, tiny_folders)
    header = TraceHeader(
        reasoner="",
        reasoner_hash="",
        tokenizer_hash="",
        n_thoughts=3,
        width=32,
        recipe_hash="",
        seed=1,
        split="train",
    )
    store = tmp_path / "traces"
    store.mkdir()
    manifest = Manifest.new(header, 20).model_dump(mode="json") | {"dtype": "bfloat16"}
    (store / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "given.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    with pytest.raises(StoreError) as refused:
        train_main([str(tmp_path / "given.yaml"), *words])
    wanted = f"{store} holds vectors of dtype 'bfloat16', not float32: set another trace.out, or import them"
    assert str(refused.value).startswith(wanted) and "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_gpt2s_layers_are_those_that_its_recipe_targets() -> None:
    """GPT-2 keeps weights in `Conv1D`; its output head is linear and no target."""
    small = GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=9)
    assert linear_layers(skeleton(small)) == set(Recipe.load("codi-gpt2").verbalizer.target_modules)


def test_a_recipe_that_fits_passes(tmp_path: Path, tiny_folders: tuple[Path, Path]) -> None:
    assert preflight.check(made(tmp_path, tiny_folders), fetch=False) == []
    whole = "{target: answer, point: last, layers: final, map: identity}"
    words = ["--reading.spec", whole, "--verbalizer.template", "'{thought} . {thought} . {thought}'"]
    assert preflight.check(made(tmp_path, tiny_folders, *words), fetch=False) == []
    with pytest.raises(RecipeError, match=r"has \{thought\} 2 times; write it 1 or 3 times"):
        preflight.check(
            made(tmp_path, tiny_folders, *words[:2], "--verbalizer.template", "'{thought}{thought}'"),
            fetch=False,
        )


def test_of_a_reasoner_that_is_elsewhere_what_is_known_is_checked_and_the_rest_named(
    tmp_path: Path, tiny_folders: tuple[Path, Path]
) -> None:
    recipe = made(tmp_path, tiny_folders, "--reasoner.path", "someone/somewhere")
    assert preflight.check(recipe, fetch=False) == [
        "someone/somewhere is not here in the own format: lengths are checked once it is"
    ]
    words = ["--reasoner.path", "someone/somewhere", "--verbalizer.template", "no slot"]
    with pytest.raises(RecipeError, match=r"verbalizer\.template = 'no slot' has \{thought\} 0 times"):
        preflight.check(made(tmp_path, tiny_folders, *words), fetch=False)


def test_a_run_that_trains_nothing_is_reported(tmp_path: Path, tiny_folders: tuple[Path, Path]) -> None:
    recipe = made(tmp_path, tiny_folders, "--grpo.steps", "0", "--warm_start.steps", "0")
    assert preflight.check(recipe, fetch=False) == [
        "there is no warm start and no reinforcement (warm_start.steps, grpo.steps): nothing is trained"
    ]


def test_traces_of_other_settings_are_refused_first(tmp_path: Path, tiny_folders: tuple[Path, Path]) -> None:
    recipe = made(tmp_path, tiny_folders)
    header = TraceHeader(
        reasoner="CodiReasoner",
        reasoner_hash="",
        tokenizer_hash="",
        n_thoughts=3,
        width=32,
        recipe_hash=recipe.trace_hash,
        seed=1,
        split="train",
    )
    (tmp_path / "traces").mkdir()
    Manifest.new(header, 20).write(tmp_path / "traces")
    assert preflight.check(recipe, fetch=False) == []
    other = made(tmp_path, tiny_folders, "--trace.seed", "5")
    with pytest.raises(StoreError, match=r"traces holds 20 traces of other settings.*set another trace\.out"):
        train(other)
    assert not (tmp_path / "run").exists()


def test_stages_of_other_settings_are_refused_before_traces_by_run_and_dry_run(
    tmp_path: Path, tiny_folders: tuple[Path, Path]
) -> None:
    recipe = made(tmp_path, tiny_folders)
    for name, inputs, files in (
        (READING, reading_settings(recipe), READING_FILES),
        (WARM, warm_settings(recipe), WARM_FILES),
    ):
        record(tmp_path / "run" / name, {**inputs, "traces": {"rows": 20}})
        for file in files:
            (tmp_path / "run" / name / file).touch()
    assert preflight.check(recipe, fetch=False) == []
    file = tmp_path / "given.yaml"
    for key, value, told in (
        ("reading.framed", "0.25", r"run/reading was made with reading\.framed = 0\.65, now 0\.25; set"),
        ("verbalizer.rank", "4", r"run/warm was made with verbalizer\.rank = 32, now 4; set"),
    ):
        other = made(tmp_path, tiny_folders, f"--{key}", value)
        file.write_text(yaml.safe_dump(other.model_dump(mode="json")))
        for asked in ([], ["--dry-run"]):
            with pytest.raises(StageError, match=told):
                train_main([str(file), *asked])
        assert preflight.check(other, fetch=False, reuse=False) == []
    assert not (tmp_path / "traces").exists()


@pytest.mark.parametrize("key", ["train.out", "trace.out"])
def test_an_output_folder_under_a_file_is_refused(
    key: str, tmp_path: Path, tiny_folders: tuple[Path, Path]
) -> None:
    (tmp_path / "file").touch()
    recipe = made(tmp_path, tiny_folders, f"--{key}", str(tmp_path / "file/deep/run"))
    with pytest.raises(OutputError, match=rf"{key} = .*/file/deep/run: .*/file is not a folder; set another"):
        preflight.check(recipe, fetch=False)


def test_other_verbs_check_their_folders_before_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bad = str(tmp_path / "file/x")
    (tmp_path / "r.yaml").write_text("log: {report_to: []}\n")
    given = str(tmp_path / "r.yaml")
    for verb, words in (
        (distill_main, [given, "--distill.out", bad]),
        (trace_main, [given, "--trace.out", bad]),
        (evaluate_main, ["embedded", "--out", bad]),
        (evaluate_main, ["--reasoner", "embedded", "--out", bad]),
    ):
        with pytest.raises(OutputError, match="is not a folder"):
            verb(words)
    with pytest.raises(SystemExit):
        evaluate_main(["--reasoner", "embedded", "--problems", "0", "--out", str(tmp_path / "out")])


def test_more_cpus_or_gpus_than_there_are_is_an_error_at_once(
    tmp_path: Path, tiny_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [Node(2, 0)]
    monkeypatch.setattr(preflight, "offered", lambda: there)
    preflight.check_actors(made(tmp_path, tiny_folders, "--rollout.cpus", "1.5"))
    wide = made(tmp_path, tiny_folders, "--rollout.actors", "3", "--rollout.cpus", "1")
    with pytest.raises(RecipeError, match=r"ask for 3\.5 CPU .*, Ray offers 2: lower rollout\.actors to 1"):
        preflight.check_actors(wide)
    own = "[{name: hidden_match}, {name: reconstruction, options: {cpus: 1.5}}]"
    with pytest.raises(RecipeError, match=r"ask for 2\.5 CPU"):
        preflight.check_actors(made(tmp_path, tiny_folders, "--reward.functions", own))
    with pytest.raises(RecipeError, match=r"0\.25 GPU .*, Ray offers 0: set reward\.gpus_per_actor to 0"):
        preflight.check_actors(made(tmp_path, tiny_folders, "--reward.gpus_per_actor", "0.25"))
    preflight.check_actors(made(tmp_path, tiny_folders, "--rollout.actors", "9", "--grpo.steps", "0"))


def test_a_cluster_says_itself_what_it_offers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    here = offered()
    assert here is not None and [node.cpus for node in here] == [os.cpu_count()]
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text("10.0.0.1:6379")  # as `ray start` leaves it
    assert offered() is None
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "other"))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert offered() is None
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    alive = {"Alive": True, "Resources": {"CPU": 64.0, "GPU": 2.0, "memory": 1.0}}
    dead = {"Alive": False, "Resources": {"CPU": 8.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [alive, dead])
    assert offered() == [Node(64, 2)]


def test_sites_are_counted_by_the_reasoners_thoughts() -> None:
    facts = preflight.ReasonerFacts.of("embedded")
    assert facts is not None
    assert (facts.n_thoughts, facts.n_layers, facts.positions) == (4, 2, 256)
    assert Site("h", facts.n_thoughts - 1).index == 3
    assert preflight.ReasonerFacts.of("nobody/nowhere") is None


def test_a_gpu_that_is_not_here_is_refused_before_ray_starts(
    tmp_path: Path, tiny_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    recipe = made(tmp_path, tiny_folders, "--reasoner.device", "cuda")
    with pytest.raises(
        UserError, match=r"reasoner\.device = cuda, but torch .* finds no GPU on this machine"
    ):
        preflight.check_actors(recipe)


def test_an_engine_of_another_type_than_half_precision_weights_is_refused(
    tmp_path: Path, tiny_folders: tuple[Path, Path]
) -> None:
    """Of a folder in the own format by its file, of any other by reasoner.dtype."""
    facts = preflight.ReasonerFacts.of(tiny_folders[0])
    assert facts is not None and facts.dtype == "float32"
    engine = "--rollout.engine.dtype"
    preflight.check(made(tmp_path, tiny_folders, engine, "bfloat16"), fetch=False)  # trained under autocast
    half = shutil.copytree(tiny_folders[0], tmp_path / "half")
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    for asked in (["--reasoner.path", str(half)], ["--reasoner.path", "a/b", "--reasoner.dtype", "bfloat16"]):
        with pytest.raises(RecipeError, match=r"are bfloat16 .*set rollout\.engine\.dtype: bfloat16"):
            preflight.check(made(tmp_path, tiny_folders, *asked), fetch=False)
        preflight.check(made(tmp_path, tiny_folders, *asked, engine, "bfloat16"), fetch=False)
        preflight.check(made(tmp_path, tiny_folders, *asked, "--grpo.steps", "0"), fetch=False)
