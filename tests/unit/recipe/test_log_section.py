from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reverse_codi.errors import RecipeError
from reverse_codi.recipe.schema import Recipe, load_recipe
from reverse_codi.trackers import tracker
from reverse_codi.trackers.tracker import TrackerError, check_trackers
from reverse_codi.training import preflight


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["wandb"]),
        ({"report_to": []}, []),
        ({"report_to": "none"}, []),
        ({"report_to": None}, []),
        ({"report_to": "tensorboard"}, ["tensorboard"]),
        ({"report_to": ["trackio", "wandb", "trackio"]}, ["trackio", "wandb"]),
        ({"wandb": True}, ["wandb"]),  # recipes and saved verbalizers from before
        ({"wandb": False, "project": "mine"}, []),
    ],
)
def test_what_names_trackers(given: dict[str, Any], names: list[str]) -> None:
    assert Recipe.load("tiny", log=given).log.report_to == names


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"report_to": ["tensorbord"]}, "'wandb', 'tensorboard' or 'trackio'"),
        ({"report_to": ["wandb"], "wandb": False}, "give report_to alone"),
        ({"wandb": "offline"}, "give report_to alone"),
        ({"completions": -1}, "completions"),
    ],
)
def test_what_is_refused_names_the_key(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem):
        Recipe.load("tiny", log=given)


def test_the_command_line_takes_a_list_and_a_name() -> None:
    assert load_recipe(["tiny", "--log.report_to", "[tensorboard, wandb]"]).log.report_to == [
        "tensorboard",
        "wandb",
    ]
    assert load_recipe(["tiny", "--log.report_to=none"]).log.report_to == []
    assert load_recipe(["tiny", "--log.wandb", "false"]).log.report_to == []


@pytest.mark.parametrize(
    ("name", "extra"), [("trackio", "trackers"), ("tensorboard", "trackers"), ("wandb", "train")]
)
def test_a_tracker_that_is_not_installed_is_refused_with_the_line_that_installs_it(
    name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tracker.importlib.util, "find_spec", lambda asked: None if asked == name else object()
    )
    with pytest.raises(TrackerError, match=rf"names {name}, .*pip install 'reverse_codi\[{extra}\]'"):
        check_trackers(Recipe.load("tiny", log={"report_to": ["wandb", "tensorboard", "trackio"]}).log)


def test_a_dry_run_and_a_run_refuse_it_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker.importlib.util, "find_spec", lambda asked: None)
    recipe = Recipe.load("tiny", log={"report_to": ["trackio"]}, train={"out": str(tmp_path / "out")})
    with pytest.raises(TrackerError, match="trackio"):
        preflight.check(recipe, fetch=False)
    assert not (tmp_path / "out").exists()
