"""What a run refuses, and when; the run itself is in tests/integration/test_train.py."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.errors import RecipeError, UserError
from reverse_codi.recipe.schema import Recipe
from reverse_codi.tasks.base import Split
from reverse_codi.train import train
from reverse_codi.training import run_folder
from reverse_codi.training.learning_signal import NothingLearntError, check_thoughts
from reverse_codi.training.prepare import Prepared, Traces
from reverse_codi.utils.config import override, validated


def recipe(*words: str) -> Recipe:
    grpo = {"thoughts_per_step": 4, "samples": 2, "max_new_tokens": 24}
    return validated(Recipe, override({"grpo": grpo}, words), "recipe")


@pytest.fixture
def prepared(prepared: Prepared) -> Prepared:
    """With gold steps."""
    return replace(prepared, claims=prepared.train.claims)


def test_thoughts_that_can_teach_pass(prepared: Prepared) -> None:
    check_thoughts(recipe(), prepared)


def test_fewer_active_thoughts_than_a_batch_are_refused(prepared: Prepared) -> None:
    active = len(prepared.thoughts(Split.TRAIN, active_only=True))
    check_thoughts(recipe("--grpo.thoughts_per_step", str(active)), prepared)
    with pytest.raises(
        RecipeError, match=rf"there are {active} training thoughts that encode a step, so no step"
    ):
        check_thoughts(recipe("--grpo.thoughts_per_step", str(active + 1)), prepared)
    check_thoughts(recipe("--grpo.thoughts_per_step", str(active + 1), "--grpo.steps", "0"), prepared)


def test_a_limit_below_every_text_is_refused_and_below_some_reported(
    prepared: Prepared, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(
        NothingLearntError, match="max_new_tokens = 3 cuts every text that the warm start taught"
    ):
        check_thoughts(recipe("--grpo.max_new_tokens", "3"), prepared)
    check_thoughts(recipe("--grpo.max_new_tokens", "8"), prepared)
    [told] = caplog.messages
    assert "of the texts that the warm start taught are longer than grpo.max_new_tokens = 8" in told


def test_a_run_that_its_traces_refuse_leaves_the_earlier_recipe(
    tmp_path: Path, tiny_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any) -> Traces:
        raise UserError("made with other settings")

    monkeypatch.setattr(importlib.import_module("reverse_codi.train"), "collect_traces", refuse)
    monkeypatch.setattr(run_folder.preflight, "check_actors", lambda recipe, join=False: None)
    given = recipe("--train.out", str(tmp_path), "--reasoner.path", str(tiny_folders[0]))
    file = tmp_path / "recipe.yaml"
    for earlier in ("of an earlier run", None):
        if earlier is None:
            file.unlink()
        else:
            file.write_text(earlier)
        with pytest.raises(UserError, match="made with other settings"):
            train(given)
        if earlier is None:  # nothing to lose, and whoever looks in sees what is running
            assert "thoughts_per_step: 4" in file.read_text()
        else:
            assert file.read_text() == earlier
