from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reverse_codi.config import RecipeError, override, validated
from reverse_codi.distill_settings import SETTINGS, check_settings, write_settings
from reverse_codi.recipe import Recipe
from reverse_codi.trainer_checkpoints import WEIGHTS


def recipe(out: Path, *words: str) -> Recipe:
    distill = {"out": str(out), "written": {"steps": 700}, "latent": {"steps": 3000}}
    return validated(Recipe, override({"distill": distill}, words), "recipe")


def put(folder: Path, checkpoint: bool = False) -> None:
    target = folder / "checkpoint-5" if checkpoint else folder
    target.mkdir(parents=True)
    save_file({"a": torch.ones(1)}, target / WEIGHTS)
    if checkpoint:
        (target / "trainer_state.json").touch()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder whose first phase is finished and whose second has begun."""
    write_settings(recipe(tmp_path))
    put(tmp_path / "written")
    put(tmp_path / "latent", checkpoint=True)
    return tmp_path


def test_the_same_recipe_goes_on_and_so_does_a_folder_without_notes(out: Path) -> None:
    check_settings(recipe(out))
    check_settings(recipe(out, "--grpo.steps", "3", "--trace.n", "5", "--log.wandb", "false"))
    (out / SETTINGS).unlink()
    check_settings(recipe(out, "--distill.seed", "1"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--distill.seed", "1"], r"distill\.seed was 0, is 1"),
        (["--distill.n_thoughts", "2"], r"distill\.n_thoughts was 6, is 2"),
        (["--task.options.max_value", "30"], r"task\.options\.max_value was None, is 30"),
        (
            ["--distill.written.learning_rate", "1e-5"],
            r"distill\.written\.learning_rate was 0\.002, is 1e-05",
        ),
        (["--distill.written.steps", "9"], r"distill\.written\.steps was 700, is 9"),
        (["--distill.latent.truncate", "0.5"], r"distill\.latent\.truncate was 0\.0, is 0\.5"),
        (["--distill.recall.patience", "200"], r"distill\.recall\.patience was None, is 200"),
    ],
)
def test_what_has_been_learnt_with_another_value_is_refused(out: Path, words: list[str], told: str) -> None:
    before = (out / SETTINGS).read_text()
    with pytest.raises(RecipeError, match=rf"begun with other settings: .*{told}.*set another distill\.out"):
        check_settings(recipe(out, *words))
    assert (out / SETTINGS).read_text() == before


def test_what_is_still_to_be_learnt_may_change(out: Path) -> None:
    free = ["--distill.threads", "2", "--distill.save_steps", "7"]
    check_settings(
        recipe(out, "--distill.latent.learning_rate", "1e-5", "--distill.latent.steps", "99", *free)
    )
    fresh = out / "new"
    write_settings(recipe(fresh))
    (fresh / "written").mkdir()  # begun, and stopped before its first checkpoint
    check_settings(recipe(fresh, "--distill.seed", "1", "--distill.written.batch_size", "8"))
    put(fresh / "written", checkpoint=True)
    check_settings(recipe(fresh, "--distill.latent.batch_size", "8"))
    with pytest.raises(RecipeError, match=r"distill\.written\.batch_size was 96, is 8"):
        check_settings(recipe(fresh, "--distill.written.batch_size", "8"))


def test_coconuts_stages_are_one_phase(tmp_path: Path) -> None:
    write_settings(recipe(tmp_path))
    put(tmp_path / "written")
    put(tmp_path / "stage-1")
    check_settings(recipe(tmp_path, "--distill.latent.learning_rate", "1e-5"))  # the later stages follow it
    with pytest.raises(RecipeError, match=r"latent\.batch_size was 96, is 8"):
        check_settings(recipe(tmp_path, "--distill.latent.batch_size", "8"))
    put(tmp_path / "answer")
    with pytest.raises(RecipeError, match=r"latent\.learning_rate was 0\.002, is 1e-05"):
        check_settings(recipe(tmp_path, "--distill.latent.learning_rate", "1e-5"))
