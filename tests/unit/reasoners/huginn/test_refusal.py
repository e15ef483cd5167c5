"""The verbs that would translate a recurrent-depth model say in one line why they do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reverse_codi.cli import trace, train
from reverse_codi.errors import RecipeError
from reverse_codi.reasoners.load import load_reasoner, open_reasoner, reasoner_folder
from tests.huginn import make_tiny_huginn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("huginn")
    make_tiny_huginn().save_pretrained(path)
    return path


def test_no_door_leads_to_a_translation(folder: Path) -> None:
    for door in (load_reasoner, open_reasoner, reasoner_folder):
        with pytest.raises(RecipeError, match="no thoughts to translate"):
            door(str(folder))


@pytest.mark.parametrize("verb", [trace.main, train.main])
def test_the_verbs_refuse_it(folder: Path, tmp_path: Path, verb: Callable[[list[str]], None]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"reasoner: {{path: {folder}}}\ntrace: {{out: {tmp_path}/t, n: 4}}\ntrain: {{out: {tmp_path}/o}}\n"
    )
    with pytest.raises(RecipeError, match=r"reverse-codi trajectories"):
        verb([str(recipe)])
