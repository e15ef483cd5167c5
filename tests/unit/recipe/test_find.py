"""Recipes by path and by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.errors import RecipeError
from reverse_codi.recipe.find import purpose, recipe_file, recipes
from reverse_codi.recipe.schema import load_recipe

ROOT = Path(__file__).parents[3]


def test_a_name_means_the_recipe_that_comes_with_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert recipes()["tiny"] == recipe_file("tiny") == recipe_file("tiny.yaml") == ROOT / "recipes/tiny.yaml"
    assert load_recipe(["tiny", "--grpo.steps", "7"]).grpo.steps == 7


def test_a_file_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text("grpo: {steps: 3}\n")
    assert load_recipe(["tiny.yaml"]).grpo.steps == 3
    Path("tiny").mkdir()  # a folder is no recipe
    assert recipe_file("tiny") == ROOT / "recipes/tiny.yaml"
    (tmp_path / "demo").write_text("grpo: {steps: 4}\n")
    assert load_recipe(["demo"]).grpo.steps == 4


def test_what_lies_beside_a_recipe_is_found_from_it(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("")
    (tmp_path / "mine.yaml").write_text("reward: {functions: [{name: './own.py:score'}]}\n")
    [function] = load_recipe([str(tmp_path / "mine.yaml")]).reward.functions
    assert function.name == f"{tmp_path / 'own.py'}:score"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("tinny", "no recipe at tinny; did you mean 'tiny', which comes with the package?"),
        ("recipes/demmo.yaml", "did you mean 'demo', which comes with the package?"),
        ("mien.yaml", "did you mean mine.yaml?"),
        ("qqqq", "give a file, or a name that `reverse-codi recipes` lists"),
    ],
)
def test_the_nearest_path_or_name_is_proposed(
    word: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("")
    with pytest.raises(RecipeError) as error:
        recipe_file(word)
    assert told in str(error.value)


def test_a_recipe_says_what_it_is_for_in_its_first_sentence(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("# One thing of 3.5B\n# parameters. More.\ntask: {}\n")
    assert purpose(file) == "One thing of 3.5B parameters"
    file.write_text("task: {}\n")
    assert purpose(file) == ""
