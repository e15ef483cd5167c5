"""What a user's commands put onto a GPU, on small models; skipped where there is none."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from reverse_codi import Verbalizer
from reverse_codi.cli.main import run as command
from reverse_codi.reading.basis import FeatureBasis
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.recipe.reading import Prefix, ReadSpec
from reverse_codi.recipe.schema import Recipe
from reverse_codi.train import train
from tests.tiny import make_problems, make_sharp_reasoner

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.timeout(300),
]

QUESTIONS = [problem.question for problem in make_problems(50, seed=7)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of every stage, with reasoner, engine and rewards on the GPU."""
    folder = tmp_path_factory.mktemp("gpu")
    make_sharp_reasoner(hidden=64).save_pretrained(folder / "reasoner")
    recipe: dict[str, Any] = {
        "log": {"report_to": []},
        "reasoner": {"path": str(folder / "reasoner"), "device": "cuda"},
        "trace": {"out": str(folder / "traces"), "n": 120, "n_heldout": 40, "shard_rows": 120},
        "reading": {"encoded_threshold": 0.01, "fit_on": "gold"},
        "verbalizer": {"rank": 4, "alpha": 8},
        "warm_start": {"kind": "shuffled", "steps": 60, "batch_size": 32, "learning_rate": 0.01},
        "rollout": {
            "cpus": 0.4, "gpus": 0.2,
            "engine": {"kind": "transformers", "device": "cuda", "max_model_len": 64},
        },
        "reward": {
            "cpus_per_actor": 0.4, "gpus_per_actor": 0.2, "functions": ["hidden_match", "contrastive"],
        },
        "reinforce": [
            {"search": {"from": "lens"}},
            {"search": {"thoughts": 20, "samples": 4}, "distil": {"steps": 6, "batch_size": 16}},
            {"grpo": {"steps": 2}},
        ],
        "grpo": {
            "thoughts_per_step": 4, "samples": 4, "max_new_tokens": 8, "eval_every": 2, "eval_thoughts": 32,
            "save_every": 2, "distractors": 3, "keep": "last",
        },
        "train": {"out": str(folder / "out")},
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    train(Recipe.load(folder / "recipe.yaml"))
    return folder / "out"


def test_every_stage_runs_on_the_gpu(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "stages.jsonl").read_text().splitlines()]
    names = [line["stage"] for line in lines]
    assert names == ["00-warm", "01-search", "02-search", "03-distil", "04-grpo"]
    assert all(math.isfinite(line["heldout/match"]) for line in lines if "search" not in line["stage"])
    before, after = (load_file(trained / part / "adapter_model.safetensors") for part in ("warm", "best"))
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("device", "engine"),
    [
        ("cuda", {"kind": "transformers"}),
        ("cpu", {"kind": "transformers"}),
        ("cuda", {"kind": "vllm", "policy": "merged", "enforce_eager": True, "gpu_memory_utilization": 0.2}),
        ("cuda", {"kind": "vllm", "policy": "lora", "dtype": "bfloat16", "gpu_memory_utilization": 0.2}),
    ],
    ids=["transformers", "cpu", "vllm", "vllm-lora-bfloat16"],
)
def test_grpo_and_the_engine_compute_alike(tmp_path: Path, device: str, engine: dict[str, Any]) -> None:
    """The canary stops a trainer in bfloat16 beside an engine in float32, on a trained model."""
    on_gpu = 0.2 if device == "cuda" else 0
    recipe = Recipe.load("demo").model_dump()
    recipe["reasoner"]["device"] = recipe["rollout"]["engine"]["device"] = device
    recipe["trace"] |= {"out": str(tmp_path / "traces"), "n": 300, "n_heldout": 60}
    recipe["warm_start"] |= {"problems": 200, "steps": 20}
    recipe["rollout"] |= {"actors": 1, "cpus": 0.4, "gpus": on_gpu}
    recipe["rollout"]["engine"] |= engine
    recipe["reward"] |= {"actors": 1, "cpus_per_actor": 0.4, "gpus_per_actor": on_gpu}
    recipe["reinforce"] = []
    recipe["grpo"] |= {"steps": 2, "thoughts_per_step": 16, "eval_thoughts": 40, "eval_every": 2}
    recipe["train"]["out"] = str(tmp_path / "out")
    train(Recipe.model_validate(recipe))
    assert (tmp_path / "out" / "verbalizer" / "adapter_model.safetensors").is_file()


def test_the_gpu_translates_as_the_processor_does() -> None:
    here = Verbalizer.from_pretrained("embedded").translate(QUESTIONS)
    there = Verbalizer.from_pretrained("embedded", device="cuda").translate(QUESTIONS)
    same = [a.text == b.text for a, b in zip(here, there, strict=True)]
    assert sum(same) / len(same) > 0.97  # another order of sums can tip a text


@pytest.mark.parametrize("prefix", list(Prefix))
@pytest.mark.parametrize("shared", [True, False], ids=["questions shared", "a question a text"])
@pytest.mark.parametrize("rank", [None, 8])
def test_the_gpu_reads_as_the_processor_does(prefix: Prefix, shared: bool, rank: int | None) -> None:
    texts = [f"{n} + {n + 7} = {2 * n + 7}." for n in range(48)] + ["(no step)", ""]
    questions = QUESTIONS[:5] * 10 if shared else QUESTIONS
    here, there = (load_reasoner("embedded", device) for device in ("cpu", "cuda"))
    spec, basis = ReadSpec(prefix=prefix), None
    if rank is not None:
        whole = Reader(here, spec).features(texts, questions)
        basis = FeatureBasis.fit(whole.unflatten(1, (-1, here.width)), rank)
    expected = Reader(here, spec, basis).features(texts, questions)
    found = Reader(there, spec, basis).features(texts, questions)
    assert found.device.type == "cpu" and found.dtype == torch.float32
    # Relative to a text's features: of one number that is near 0 any difference is large.
    assert float(((found - expected).norm(dim=1) / expected.norm(dim=1)).max()) < 1e-3
    assert all(states.is_cuda for states in there.read(texts, questions))


def test_a_reasoner_is_distilled_on_the_gpu(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        "log: {report_to: []}\n"
        "distill:\n"
        f"  out: {tmp_path / 'reasoner'}\n"
        "  shape: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 4}\n"
        "  n_thoughts: 2\n"
        "  projection_width: 32\n"
        "  n_problems: 300\n"
        "  written: {steps: 20, batch_size: 16, student: 0, distill: 0}\n"
        "  latent: {steps: 5, batch_size: 16}\n"
    )
    command(["distill", str(tmp_path / "recipe.yaml")])
    reasoner = CodiReasoner.from_pretrained(tmp_path / "reasoner", device="cuda")
    states = reasoner.think(QUESTIONS[:4]).hidden_states
    assert states.device.type == "cpu" and bool(states.isfinite().all())
