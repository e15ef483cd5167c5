from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from reverse_codi.errors import RecipeError
from reverse_codi.recipe import overrides
from reverse_codi.recipe.reward import RewardItem, RewardSection
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.tasks import Arithmetic

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


def test_where_traces_are_made_and_kept_does_not_move_their_hash() -> None:
    plain = load_recipe([TINY])
    where = ["--trace.out", "elsewhere", "--trace.batch_size", "7", "--reasoner.device", "cuda"]
    moved = load_recipe([TINY, *where])
    assert (moved.trace_hash, moved.asked_hash) == (plain.trace_hash, plain.asked_hash)
    assert load_recipe([TINY, "--reasoner.path", "other"]).asked_hash != plain.asked_hash
    assert load_recipe([TINY, "--trace.seed", "9"]).trace_hash != plain.trace_hash


def test_errors_name_the_recipe_and_the_key() -> None:
    with pytest.raises(
        RecipeError, match=r"tiny\.yaml: unknown key 'grpo\.step'; did you mean 'grpo\.steps'"
    ):
        load_recipe([TINY, "--grpo.step", "7"])
    with pytest.raises(RecipeError, match=r"grpo\.samples = 1: input should be greater than or equal to 2"):
        load_recipe([TINY, "--grpo.samples", "1"])
    with pytest.raises(RecipeError, match="no recipe given"):
        load_recipe(["--grpo.steps", "7"])


# ---- in Python


def test_doctests() -> None:
    assert doctest.testmod(overrides).failed == 0


@pytest.mark.parametrize("which", [TINY, Path(TINY), "tiny"])
def test_a_recipe_is_loaded_without_a_command_line(which: str | Path) -> None:
    assert Recipe.load(which) == load_recipe([TINY])


def test_sections_and_dotted_keys_lie_over_the_file() -> None:
    plain = Recipe.load("tiny")
    changed = Recipe.load("tiny", grpo={"steps": 7}, **{"trace.n": 500, "task.options": {"max_value": 30}})
    assert changed == load_recipe(
        [TINY, "--grpo.steps", "7", "--trace.n", "500", "--task.options", "{max_value: 30}"]
    )
    assert changed.grpo.samples == plain.grpo.samples
    out = Recipe.load("tiny", train={"out": Path("runs/mine")})
    assert out.train.out == "runs/mine"


def test_a_section_may_be_given_whole() -> None:
    section = RewardSection(functions=[RewardItem(name="brevity")])
    assert Recipe.load("tiny", reward=section).reward == section


def test_errors_are_those_of_the_command() -> None:
    with pytest.raises(RecipeError, match=r"tiny: unknown key 'grpo\.step'; did you mean 'grpo\.steps'"):
        Recipe.load("tiny", grpo={"step": 7})
    with pytest.raises(RecipeError, match="tiny: unknown key 'grop'; did you mean 'grpo'"):
        Recipe.load("tiny", **{"grop.steps": 7})
    with pytest.raises(RecipeError, match=r"grpo\.samples = 1: input should be greater than or equal to 2"):
        Recipe.load("tiny", **{"grpo.samples": 1})
    with pytest.raises(RecipeError, match=r"trace = 3: input should be"):
        Recipe.load("tiny", trace=3)
    with pytest.raises(RecipeError, match="no recipe at tinny; did you mean 'tiny'"):
        Recipe.load("tinny")


def mine(batch: object) -> list[float]:
    return []


def test_functions_are_rewards_of_a_recipe_and_are_written_by_name() -> None:
    recipe = Recipe.load("tiny", reward={"functions": [mine, "brevity"]})
    assert [item.name for item in recipe.reward.functions] == [mine, "brevity"]
    assert recipe.reward.actors == Recipe.load("tiny").reward.actors
    written = recipe.model_dump(mode="json")
    assert [item["name"] for item in written["reward"]["functions"]] == [f"{__name__}:mine", "brevity"]
    assert Recipe.model_validate(written).model_dump_json() == recipe.model_dump_json()
