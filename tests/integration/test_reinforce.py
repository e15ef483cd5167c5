"""Reinforcement in stages on a tiny reasoner, with real Ray actors and TRL's trainers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from reverse_codi.errors import RecipeError, UserError
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.manifest import write_manifest
from reverse_codi.storage.stages import StageError
from reverse_codi.train import train
from reverse_codi.training.best_texts import BestTexts
from tests.tiny import make_sharp_reasoner
from tests.trackers import scalars, texts

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(600)]

STAGES: list[dict[str, Any]] = [
    {"search": {"from": "lens", "shortlist": 2}},
    {
        "times": 2,
        "search": {"thoughts": 20, "samples": [4, 2], "shortlist": 2, "keep": 2},
        "distil": {"steps": 6, "batch_size": 16, "replay": 0.1},
    },
    {"grpo": {"steps": 2}},
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stages")
    make_sharp_reasoner(hidden=64).save_pretrained(folder / "reasoner")
    (folder / "recipe.yaml").write_text(
        yaml.safe_dump(
            {
                "log": {"report_to": ["tensorboard"], "completions": 4},
                "reasoner": {"path": str(folder / "reasoner")},
                "trace": {"out": str(folder / "traces"), "n": 120, "n_heldout": 40, "shard_rows": 120},
                "reading": {"encoded_threshold": 0.01, "fit_on": "gold"},
                "verbalizer": {"rank": 4, "alpha": 8},
                "warm_start": {"kind": "shuffled", "steps": 60, "batch_size": 32, "learning_rate": 0.01},
                "rollout": {"cpus": 0.4, "engine": {"kind": "transformers", "max_model_len": 64}},
                "reward": {"cpus_per_actor": 0.4, "functions": ["hidden_match"]},
                "grpo": {
                    "thoughts_per_step": 4, "samples": 4, "max_new_tokens": 8, "eval_every": 2,
                    "eval_thoughts": 32, "save_every": 2, "distractors": 3, "keep": "last",
                },
            }
        )
    )  # fmt: skip
    return folder


def recipe(root: Path, out: str = "out", stages: list[dict[str, Any]] = STAGES, **keys: Any) -> Recipe:
    return Recipe.load(root / "recipe.yaml", reinforce=stages, train={"out": str(root / out)}, **keys)


@pytest.fixture(scope="module")
def trained(root: Path, ray_session: None) -> Path:
    train(recipe(root))
    return root / "out"


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "stages.jsonl").read_text().splitlines()]


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def same(one: Path, other: Path) -> bool:
    a, b = adapter(one), adapter(other)
    return all(torch.equal(a[name], b[name]) for name in a)


def test_each_stage_has_a_line_with_its_cost_and_what_it_is_worth(trained: Path) -> None:
    found = lines(trained)
    assert [line["stage"] for line in found] == [
        "00-warm", "01-search", "02-search", "03-distil", "04-search", "05-distil", "06-grpo",
    ]  # fmt: skip
    assert [line["texts"] for line in found] == [0, 0, 80, 0, 40, 0, 32]
    assert [line["total/texts"] for line in found] == [0, 0, 80, 80, 120, 120, 152]
    assert found[-1]["total/seconds"] == pytest.approx(sum(line["seconds"] for line in found))
    assert all("heldout/match" in line for line in found if "search" not in line["stage"])
    assert all(0 < line["store/thoughts"] <= 1 for line in found if "search" in line["stage"])
    assert found[3]["shown"] == 6 * 16
    assert 0 <= found[2]["texts/own"] <= found[2]["texts/covered"] <= 1


def test_the_store_keeps_what_each_search_found(trained: Path) -> None:
    folders = [trained / "reinforce" / name for name in ("01-search", "02-search", "04-search")]
    stores = [BestTexts.load([folder]) for folder in folders]
    assert [{found.search for found in store.found} for store in stores] == [{1}, {2}, {3}]
    assert {found.policy for found in stores[0].found} == {0}  # the lens wrote
    [second], [third] = ({found.policy for found in store.found} for store in stores[1:])
    assert 0 < second < third


def test_the_last_policy_is_the_verbalizer_where_the_recipe_says_so(trained: Path) -> None:
    assert same(trained / "verbalizer", trained / "reinforce/06-grpo/best")
    assert not same(trained / "verbalizer", trained / "reinforce/05-distil")
    assert not same(trained / "reinforce/03-distil", trained / "warm")
    assert json.loads((trained / "best.json").read_text())["step"] == 6


def test_every_stage_is_a_run_of_the_tracker_and_their_worth_one_more(trained: Path) -> None:
    runs = trained / "tensorboard"
    assert {path.name for path in runs.iterdir()} == {
        "train", "warm-start", "01-search", "02-search", "03-distil", "04-search", "05-distil", "06-grpo",
    }  # fmt: skip
    found = lines(trained)
    worth = [(at, line["heldout/match"]) for at, line in enumerate(found) if "heldout/match" in line]
    assert scalars(runs / "train", "heldout/match") == [(at, pytest.approx(value)) for at, value in worth]
    assert len(scalars(runs / "train", "seconds/06-grpo")) == 1
    assert len(scalars(runs / "warm-start", "train/loss")) == 1  # logged every 50 of 60 steps
    metrics = (trained / "reinforce/06-grpo/metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in metrics]
    losses = [(line["step"], pytest.approx(line["loss"], abs=1e-6)) for line in logged if "loss" in line]
    assert scalars(runs / "06-grpo", "train/loss") == losses
    assert len(scalars(runs / "06-grpo", "train/seconds/train")) == 2  # the monitor's phase times
    tables = texts(runs / "06-grpo", "completions")
    assert [(step, table.count("\n")) for step, table in tables] == [(0, 5), (1, 5)]  # head, rule, 4 rows
    assert "| question | thought | site | text |" in texts(runs / "02-search", "texts")[0][1]


def test_finished_stages_are_used_again(trained: Path, root: Path) -> None:
    shutil.copytree(trained, root / "again")
    for name in ("05-distil", "06-grpo"):
        shutil.rmtree(root / "again/reinforce" / name)
    kept = (root / "again/reinforce/04-search/texts.parquet").stat().st_mtime_ns
    train(recipe(root, "again"))
    assert (root / "again/reinforce/04-search/texts.parquet").stat().st_mtime_ns == kept
    assert same(root / "again/reinforce/05-distil", trained / "reinforce/05-distil")
    costs = [line["seconds"] for line in lines(root / "again")]
    assert costs[:5] == [line["seconds"] for line in lines(trained)][:5]


def test_a_stage_of_other_settings_is_refused_before_any_work(trained: Path, root: Path) -> None:
    other = [{"search": {"from": "lens", "shortlist": 3}}, *STAGES[1:]]
    with pytest.raises(StageError, match=r"01-search.*shortlist = 2, now 3"):
        train(recipe(root, stages=other))


def test_a_stage_that_a_policy_of_another_origin_made_is_refused(trained: Path, root: Path) -> None:
    shutil.copytree(trained, root / "mixed")
    policy = root / "mixed/reinforce/03-distil"
    shutil.copy(trained / "reinforce/06-grpo/best/adapter_model.safetensors", policy)
    write_manifest(policy, ("adapter_model.safetensors",))  # it is whole, and another one
    with pytest.raises(StageError, match=r"04-search.*from\.policy"):
        train(recipe(root, "mixed"))


def test_a_grpo_stage_that_was_stopped_goes_on_with_resume_alone(trained: Path, root: Path) -> None:
    shutil.copytree(trained, root / "stopped")
    stage = root / "stopped/reinforce/06-grpo"
    (stage / "figures.json").unlink()
    with pytest.raises(RecipeError, match="--resume"):
        train(recipe(root, "stopped"))
    kept = (root / "stopped/trackers.json").read_text()
    train(recipe(root, "stopped"), resume=True)
    assert (stage / "figures.json").is_file()
    assert (root / "stopped/trackers.json").read_text() == kept
    # Stages that the first process has sent are not sent again.
    steps = [step for step, _ in scalars(root / "stopped/tensorboard/train", "total/texts")]
    assert steps[:7] == list(range(7)) and set(steps[7:]) <= {6}


def test_a_search_whose_texts_claim_nothing_says_so(root: Path) -> None:
    untrained = {"warm_start": {"kind": "gold", "steps": 0}}
    with pytest.raises(UserError, match=r"01-search: none of \d+ finished texts makes a claim"):
        train(recipe(root, "nothing", [{"search": {"thoughts": 4, "samples": 1}}], **untrained))


@pytest.mark.parametrize(
    ("stages", "keys", "problem"),
    [
        ([{"distil": {}}], {}, "put a search before distil"),
        (STAGES, {"reading": {"spec": {"prefix": "question"}}}, "set search.shortlist: 0"),
    ],
)
def test_stages_that_cannot_work_are_refused(
    root: Path, stages: list[dict[str, Any]], keys: dict[str, Any], problem: str
) -> None:
    with pytest.raises(RecipeError, match=problem):
        train(recipe(root, "refused", stages, **keys))
    assert not (root / "refused").exists()
