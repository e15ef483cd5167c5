from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from reverse_codi.errors import RecipeError
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.files import DamagedError
from reverse_codi.storage.manifest import write_manifest
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS, set_aside
from reverse_codi.training.resuming import NEW, differences, start_of
from reverse_codi.utils.config import override, validated

BEGUN: dict[str, Any] = {
    "reward": {"functions": [{"name": "hidden_match"}, {"name": "brevity", "weight": 0.1}]},
    "grpo": {"steps": 10, "learning_rate": 1e-4},
}


def recipe(*words: str) -> Recipe:
    return validated(Recipe, override(BEGUN, words), "recipe")


def put_checkpoint(out: Path, step: int, value: float = 1.0) -> str:
    folder = out / f"grpo/checkpoint-{step}"
    folder.mkdir(parents=True)
    save_file({"a": torch.tensor([value])}, folder / POLICY_WEIGHTS)
    for name in ("optimizer.pt", "scheduler.pt"):
        (folder / name).touch()
    (folder / "trainer_state.json").write_text("{}")
    return str(folder)


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    put_checkpoint(tmp_path, 4)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe().model_dump(mode="json")))
    return tmp_path


def test_the_same_recipe_goes_on(begun: Path) -> None:
    start = start_of(recipe(), begun, resume=True)
    assert (start.checkpoint, start.done, start.changed) == (str(begun / "grpo/checkpoint-4"), 4, {})


def test_a_new_run_has_nothing_to_go_on_from_and_an_earlier_one_is_not_run_over(begun: Path) -> None:
    assert start_of(recipe("--grpo.samples", "4"), begun / "new", resume=True) == NEW
    assert NEW.done == 0
    with pytest.raises(RecipeError, match="checkpoint-4 is of an earlier run; add --resume"):
        start_of(recipe(), begun, resume=False)


def test_every_key_that_cannot_change_is_named_with_both_values(begun: Path) -> None:
    words = ["--grpo.samples", "8", "--reward.functions", "[{name: brevity}]", "--grpo.learning_rate", "1e-3"]
    with pytest.raises(RecipeError) as refused:
        start_of(recipe(*words), begun, resume=True)
    message = str(refused.value)
    assert message.startswith(f"--resume cannot change what {begun / 'recipe.yaml'} says: ")
    assert "grpo.samples was 16, is 8" in message
    assert "reward.functions.0.name was 'hidden_match', is 'brevity'" in message
    assert "reward.functions.1.weight was 0.1, is None" in message
    assert "learning_rate" not in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task.options.max_value", "30"),
        ("reasoner.path", "other"),
        ("trace.n", "7"),
        ("reading.framed", "0.25"),
        ("verbalizer.rank", "8"),
        ("warm_start.steps", "3"),
        ("reward.aggregation", "normalize_then_sum"),
        ("reward.shape", "rank"),
        ("grpo.thoughts_per_step", "5"),
        ("grpo.steps_per_generation", "2"),
        ("grpo.iterations", "2"),
        ("grpo.advantage", "prefix"),
        ("grpo.scale_rewards", "none"),
        ("grpo.distractors", "3"),
        ("grpo.keep", "last"),
        ("grpo.eval_thoughts", "7"),
        ("grpo.curriculum", "short_first"),
        ("grpo.seed", "1"),
    ],
)
def test_what_decides_what_is_learnt_or_compared_is_refused(begun: Path, key: str, value: str) -> None:
    with pytest.raises(RecipeError, match=rf"{key} was .*, is '?{value}'?"):
        start_of(recipe(f"--{key}", value), begun, resume=True)


def test_what_the_rest_of_a_run_follows_is_taken_over_and_recorded(begun: Path) -> None:
    words = ["--grpo.learning_rate", "3e-5", "--grpo.steps", "20", "--grpo.max_new_tokens", "40"]
    silent = ["--log.report_to", "[]", "--train.threads", "1", "--distill.seed", "4"]
    start = start_of(recipe(*words, *silent, "--rollout.actors", "2"), begun, resume=True)
    assert start.changed == {
        "grpo.steps": (10, 20),
        "grpo.learning_rate": (1e-4, 3e-5),
        "grpo.max_new_tokens": (32, 40),
        "rollout.actors": (1, 2),
    }
    parts = [
        "--warm_start.micro_batch",
        "8",
        "--grpo.micro_batch",
        "16",
        "--grpo.gradient_checkpointing",
        "true",
    ]
    assert start_of(recipe(*parts), begun, resume=True).changed == {
        "warm_start.micro_batch": ("auto", 8),
        "grpo.micro_batch": ("auto", 16),
        "grpo.gradient_checkpointing": (False, True),
    }
    timed = "[{name: hidden_match, timeout_s: 9}, {name: brevity, weight: 0.1}]"
    assert start_of(recipe("--reward.functions", timed), begun, resume=True).changed == {
        "reward.functions.0.timeout_s": (None, 9.0)
    }


def test_an_order_by_length_depends_on_the_number_of_steps(tmp_path: Path) -> None:
    sorted_rows = ["--grpo.curriculum", "short_first"]
    put_checkpoint(tmp_path, 4)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe(*sorted_rows).model_dump(mode="json")))
    with pytest.raises(RecipeError, match=r"grpo\.steps was 10, is 20"):
        start_of(recipe(*sorted_rows, "--grpo.steps", "20"), tmp_path, resume=True)


def test_a_key_that_an_older_recipe_lacks_had_its_default() -> None:
    stored = recipe().model_dump(mode="json")
    del stored["grpo"]["scale_rewards"]
    assert differences(stored, recipe()) == {}
    assert differences(stored, recipe("--grpo.scale_rewards", "none")) == {
        "grpo.scale_rewards": ("group", "none")
    }


def test_a_run_that_saved_nan_goes_on_from_the_last_finite_checkpoint(begun: Path) -> None:
    put_checkpoint(begun, 8, float("nan"))
    start = start_of(recipe(), begun, resume=True)
    assert start.done == 4 and (begun / "grpo/checkpoint-8").is_dir()  # looking changes nothing
    printed: list[str] = []
    set_aside(start.found, printed.append)
    assert (begun / "grpo/not-finite-8").is_dir() and len(printed) == 1
    only = begun / "only"
    put_checkpoint(only, 8, float("nan"))
    assert start_of(recipe(), only, resume=True) == NEW
    with pytest.raises(RecipeError, match="of an earlier run"):
        start_of(recipe(), only, resume=False)


def test_a_damaged_checkpoint_is_said_and_the_one_before_is_gone_on_from(begun: Path) -> None:
    newest = Path(put_checkpoint(begun, 8))
    write_manifest(newest)
    (newest / "optimizer.pt").unlink()
    start = start_of(recipe(), begun, resume=True)
    assert start.done == 4
    assert start.notes == (
        f"{newest}/optimizer.pt is missing; the run goes on from {begun}/grpo/checkpoint-4",
        f"{begun}/grpo/checkpoint-4 is of version 0.1.0, which kept no checksums: its files were not checked",
    )
    printed: list[str] = []
    set_aside(start.found, printed.append)
    assert (begun / "grpo/damaged-8").is_dir()
    shutil.rmtree(begun / "grpo/checkpoint-4")
    (begun / "grpo/damaged-8").rename(newest)
    with pytest.raises(DamagedError, match=rf"{newest}/optimizer\.pt is missing\. Restore .*grpo away"):
        start_of(recipe(), begun, resume=True)
