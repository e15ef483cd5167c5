from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reverse_codi.errors import RecipeError
from reverse_codi.recipe.reward import Gate, RewardItem, RewardSection, Schedule
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.rewards.registry import find_functions
from reverse_codi.utils.config import validated

CUSTOM = """
from reverse_codi import reward


@reward(worst=-1.0)
def mine(batch):
    return [0.25] * len(batch)
"""


def test_find_functions_binds_options_and_refuses_two_of_one_name() -> None:
    items = [RewardItem(name="hidden_match", options={"metric": "mse"}), RewardItem(name="brevity")]
    assert [f.name for f in find_functions(RewardSection(functions=items))] == ["hidden_match", "brevity"]
    with pytest.raises(RecipeError, match="two reward functions are named 'brevity'"):
        find_functions(RewardSection(functions=[items[1], items[1]]))


def test_time_limits_are_the_items_or_a_quarter_of_the_sections() -> None:
    items = [RewardItem(name="hidden_match", timeout_s=3.0), RewardItem(name="brevity")]
    found = find_functions(RewardSection(functions=items, timeout_s=50.0))
    assert [function.timeout_s for function in found] == [3.0, 12.5]


def test_a_weight_moves_in_a_straight_line_and_stays() -> None:
    item = RewardItem(name="x", weight=1.0, schedule=Schedule(to=-1.0, steps=4, after=2))
    assert [item.weight_at(step) for step in (0, 2, 3, 4, 6, 100)] == [1.0, 1.0, 0.5, 0.0, -1.0, -1.0]
    assert RewardItem(name="x", weight=0.5).weight_at(3) == 0.5
    assert validated(RewardItem, item.model_dump(mode="json"), "recipe.yaml") == item


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"weight": float("nan")}, r"functions\.0\.weight = nan"),
        ({"schedule": {"to": 0.0}}, r"key 'functions\.0\.schedule\.steps' is missing"),
        ({"schedule": {"to": 0.0, "stps": 3, "steps": 3}}, r"did you mean 'functions\.0\.schedule\.steps'"),
        ({"gate": {"by": "y", "over": 1.0}}, r"did you mean 'functions\.0\.gate\.above'"),
        ({"normalize": "all"}, r"normalize = 'all': input should be 'none', 'group' or 'step'"),
        ({"timeout_s": 0}, r"timeout_s = 0"),
    ],
)
def test_what_cannot_be_meant_is_named(item: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        validated(RewardSection, {"functions": [{"name": "x", **item}]}, "recipe.yaml")


@pytest.mark.parametrize("by", ["hiden_match", "brevity"])
def test_a_gate_is_another_reward_of_the_recipe(by: str) -> None:
    gated = RewardItem(name="brevity", gate=Gate(by=by, above=0.2))
    section = RewardSection(functions=[RewardItem(name="hidden_match"), gated])
    with pytest.raises(
        RecipeError, match=rf"brevity: gate\.by = '{by}' is no other reward; those are hidden_match"
    ):
        find_functions(section)


def recipe_in(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    path = folder / "recipe.yaml"
    path.write_text(f"reward: {{functions: [{{name: '{name}'}}]}}\n")
    return path


def test_a_file_beside_the_recipe_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recipe_in(tmp_path / "job/recipes", "./mine.py:mine")
    (path.parent / "mine.py").write_text(CUSTOM)
    monkeypatch.chdir(tmp_path / "job")
    [item] = load_recipe([str(path)]).reward.functions
    assert item.name == "recipes/mine.py:mine"  # a Ray job's actors have a job folder of their own
    assert find_functions(RewardSection(functions=[item]))[0].name == "mine"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    [item] = load_recipe([str(path)]).reward.functions
    assert item.name == f"{path.parent}/mine.py:mine"
    # as on another machine, where the driver's folder is not there but a copy is
    monkeypatch.chdir(tmp_path / "job")
    shipped = RewardSection(functions=[RewardItem(name="recipes/mine.py:mine")])
    assert find_functions(shipped, "/not/here")[0].name == "mine"


def test_a_file_of_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recipe_in(tmp_path / "recipes", "./mine.py:mine")
    (tmp_path / "mine.py").write_text(CUSTOM)
    monkeypatch.chdir(tmp_path)
    section = load_recipe([str(path)]).reward
    assert section.functions[0].name == "./mine.py:mine"
    assert find_functions(section)[0].worst == -1.0
    # as in an actor that runs in another folder of the driver's machine
    monkeypatch.chdir(path.parent)
    assert find_functions(section, str(tmp_path))[0].name == "mine"
    with pytest.raises(RecipeError, match=r"no reward file './mine\.py': looked for /\S+mine\.py$"):
        find_functions(section)
