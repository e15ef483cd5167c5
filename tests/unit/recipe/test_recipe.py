from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.recipe.schema import load_recipe
from reverse_codi.tasks import Arithmetic
from reverse_codi.utils.config import RecipeError

ROOT = Path(__file__).parents[3]
TINY = str(ROOT / "recipes/tiny.yaml")

# An ablation table is many recipes in one; see test_ablate.
RECIPES = sorted(path for path in (ROOT / "recipes").glob("*.yaml") if not path.stem.startswith("ablation"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads(path: Path) -> None:
    load_recipe([str(path)])


def test_options_lie_over_the_file_and_move_the_hash() -> None:
    plain = load_recipe([TINY])
    changed = load_recipe([TINY, "--grpo.steps", "7", "--task.options", "{max_value: 30}"])
    assert changed.grpo.steps == 7
    assert changed.task.build() == Arithmetic(max_value=30)
    assert changed.grpo.samples == plain.grpo.samples
    assert changed.trace_hash != plain.trace_hash == load_recipe([TINY]).trace_hash


def test_errors_name_the_recipe_and_the_key() -> None:
    with pytest.raises(
        RecipeError, match=r"tiny\.yaml: unknown key 'grpo\.step'; did you mean 'grpo\.steps'"
    ):
        load_recipe([TINY, "--grpo.step", "7"])
    with pytest.raises(RecipeError, match=r"grpo\.samples = 1: input should be greater than or equal to 2"):
        load_recipe([TINY, "--grpo.samples", "1"])
    with pytest.raises(RecipeError, match="no recipe given"):
        load_recipe(["--grpo.steps", "7"])
