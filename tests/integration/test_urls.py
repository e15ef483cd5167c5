"""A run whose outputs are at URLs: what it leaves there is all that another machine needs to go on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from safetensors.torch import load_file

from reverse_codi.recipe.schema import Recipe
from reverse_codi.train import train
from reverse_codi.training.monitor import Monitor
from reverse_codi.training.outputs import OUTPUTS, settled
from tests.tiny import make_sharp_reasoner

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(600)]

STOP_AFTER = 2


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_sharp_reasoner(hidden=64).save_pretrained(tmp_path / "reasoner")
    values: dict[str, Any] = {
        "log": {"report_to": []},
        "reasoner": {"path": str(tmp_path / "reasoner")},
        "trace": {"out": "memory://bucket/traces", "n": 240, "n_heldout": 60, "shard_rows": 120},
        "reading": {"encoded_threshold": 0.01, "fit_on": "gold"},
        "verbalizer": {"rank": 4, "alpha": 8},
        "warm_start": {"kind": "gold", "steps": 40, "batch_size": 32, "eval_steps": 40},
        "rollout": {"cpus": 0.4, "engine": {"kind": "transformers", "max_model_len": 64}},
        "reward": {"cpus_per_actor": 0.4},
        "grpo": {
            "steps": 4, "thoughts_per_step": 4, "samples": 4, "max_new_tokens": 8, "eval_every": 4,
            "eval_thoughts": 32, "save_every": 1, "distractors": 3, "learning_rate": 1e-3,
        },
        "train": {"out": "memory://bucket/run"},
    }  # fmt: skip
    return Recipe.model_validate(values)


class Lost(BaseException):
    """The machine goes down."""


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_a_run_goes_on_elsewhere_from_its_last_checkpoint_to_the_same_end(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_hand = recipe.train.model_copy(update={"out": str(tmp_path / "whole")})
    whole = train(recipe.model_copy(update={"train": at_hand}))

    on_step_begin = Monitor.on_step_begin

    def lost(self: Monitor, args: Any, state: Any, *rest: Any, **named: Any) -> None:
        if state.global_step == STOP_AFTER:
            monkeypatch.setattr("reverse_codi.storage.mirrors.push_all", lambda: None)
            raise Lost
        on_step_begin(self, args, state, *rest, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Monitor, "on_step_begin", lost)
        with pytest.raises(Lost):
            train(recipe)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    shutil.rmtree(tmp_path / "cache")
    memory = fsspec.filesystem("memory")
    assert memory.exists(f"/bucket/run/grpo/checkpoint-{STOP_AFTER}/adapter_model.safetensors")
    assert not memory.exists("/bucket/run/policies")

    resumed = train(recipe, resume=True)
    assert resumed.is_relative_to(tmp_path / "another machine")
    once, twice = adapter(whole), adapter(resumed)
    assert once.keys() == twice.keys()
    assert all(torch.equal(once[name], twice[name]) for name in once)
    here, _ = settled(recipe, *OUTPUTS)
    at_url = {name.removeprefix("/bucket/run/") for name in memory.find("/bucket/run")}
    assert {"verbalizer/adapter_model.safetensors", "metrics.jsonl", "recipe.yaml", "best.json"} <= at_url
    for name in ("verbalizer/adapter_model.safetensors", "metrics.jsonl"):
        assert memory.cat_file(f"/bucket/run/{name}") == Path(here.train.out, name).read_bytes()
    for store in ("traces", "traces-heldout"):
        assert memory.exists(f"/bucket/{store}/manifest.json")
