from __future__ import annotations

from typing import Any

import pytest

from reverse_codi.errors import RecipeError
from reverse_codi.recipe.schema import Recipe
from reverse_codi.recipe.task import TaskSection
from reverse_codi.tasks import GSM8K, JsonLines
from reverse_codi.utils.config import validated


def section(**values: Any) -> TaskSection:
    return validated(Recipe, {"task": values}, "r.yaml").task


def test_a_recipe_path_takes_the_place_of_the_hub_id() -> None:
    assert section(name="gsm8k", path="data/gsm").build() == GSM8K(source="data/gsm")
    assert section(name="gsm8k").build() == GSM8K(source="openai/gsm8k")
    assert section(name="jsonl", path="a.jsonl", options={"heldout_percent": 50}).build() == JsonLines(
        source="a.jsonl", heldout_percent=50
    )


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"name": "gsm8"}, r"task\.name = 'gsm8': .*did you mean 'gsm8k'"),
        ({"name": "arithmetic", "options": {"max_valeu": 3}}, "did you mean 'max_value'"),
        ({"name": "prosqa"}, r"set task\.path"),
        ({"name": "arithmetic", "path": "x"}, r"remove task\.path 'x'"),
        ({"name": "gsm8k", "path": "x", "options": {"source": "y"}}, "remove one"),
        ({"nam": "gsm8k"}, r"unknown key 'task\.nam'; did you mean 'task\.name'"),
        ({"name": "graph", "options": {"distractors": 99}}, "need 107 classes of 32"),
    ],
)
def test_a_recipe_is_refused_before_anything_is_read(values: dict[str, Any], named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        section(**values)


def test_the_hash_of_recipes_without_a_path_stays() -> None:
    # Traces and runs that were begun before there was `task.path` go on.
    assert Recipe().model_dump(mode="json")["task"] == {"name": "arithmetic", "options": {}}
    plain, other = section(name="gsm8k"), section(name="gsm8k", path="data/gsm")
    assert "path" in other.model_dump() and "path" not in plain.model_dump()
    assert Recipe(task=plain).trace_hash != Recipe(task=other).trace_hash
