from __future__ import annotations

from typing import Any

import pytest

from reverse_codi.errors import RecipeError
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.reinforce import DistilSection, SearchSection
from reverse_codi.recipe.schema import Recipe


def stages(*entries: dict[str, Any], **sections: Any) -> list[tuple[str, int]]:
    recipe = Recipe.load("tiny", reinforce=list(entries), **sections)
    return [(stage.name, stage.round) for stage in recipe.stages]


def test_an_entry_runs_its_stages_in_order_as_often_as_it_says() -> None:
    assert stages({"times": 2, "search": {}, "distil": {}}, {"grpo": {}}) == [
        ("01-search", 1),
        ("02-distil", 1),
        ("03-search", 2),
        ("04-distil", 2),
        ("05-grpo", 1),
    ]
    assert stages({"search": {}}, {"search": {}}) == [("01-search", 1), ("02-search", 1)]


def test_without_entries_grpo_is_the_only_stage_if_it_has_steps() -> None:
    assert stages() == [("01-grpo", 1)]
    assert stages(grpo={"steps": 0}) == []


def test_a_grpo_stage_lies_over_the_section() -> None:
    recipe = Recipe.load("tiny", grpo={"samples": 6}, reinforce=[{"grpo": {"steps": 3}}])
    [stage] = recipe.stages
    assert isinstance(stage.section, GrpoSection)
    assert (stage.section.steps, stage.section.samples) == (3, 6)


def test_samples_and_temperature_may_change_from_round_to_round() -> None:
    section = SearchSection(samples=[24, 8], temperature=[1.3, 1.0, 0.7])
    assert [section.samples_in(n) for n in (1, 2, 3)] == [24, 8, 8]
    assert [section.temperature_in(n) for n in (1, 2, 3, 4)] == [1.3, 1.0, 0.7, 0.7]


def test_a_plan_says_what_each_stage_will_do() -> None:
    entries = [
        {"search": {"thoughts": 0, "samples": [6, 4], "temperature": 1.5}},
        {"search": {"from": "lens"}, "distil": {"steps": 1200}},
        {"grpo": {"steps": 3, "thoughts_per_step": 16, "samples": 4}},
    ]
    recipe = Recipe.load("tiny", reinforce=entries)
    assert [stage.plan for stage in recipe.stages] == [
        "01-search: all thoughts x 6 texts at temperature 1.5",
        "02-search: lens search of all thoughts",
        "03-distil: 1,200 steps of 256 thoughts",
        "04-grpo: 3 steps of 16 thoughts x 4 texts",
    ]
    assert [stage.texts(50) for stage in recipe.stages] == [300, 0, 0, 192]


def test_the_source_of_a_search_is_written_from() -> None:
    recipe = Recipe.load("tiny", reinforce=[{"search": {"from": "lens"}}])
    section = recipe.stages[0].section
    assert isinstance(section, SearchSection) and section.source == "lens"
    again = Recipe(**recipe.model_dump(mode="json"))  # as recipe.yaml of a run is read
    assert again.stages == recipe.stages


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({}, "has no stage"),
        ({"serch": {}}, "did you mean 'reinforce.0.search'"),
        ({"search": {"samples": []}}, "a number above 0"),
        ({"search": {"temperature": [1.0, 0.0]}}, "a number above 0"),
        ({"distil": {"empty": 0.5, "replay": 0.5}}, "leave no place"),
        ({"grpo": {"stepz": 3}}, "unknown key 'stepz'"),
        ({"grpo": {"steps": -3}}, "steps = -3"),
    ],
)
def test_a_wrong_entry_is_refused(entry: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        Recipe.load("tiny", reinforce=[entry])


def test_distil_takes_its_defaults_where_nothing_is_said() -> None:
    recipe = Recipe.load("tiny", reinforce=[{"search": {}, "distil": {}}])
    assert recipe.stages[1].section == DistilSection()
