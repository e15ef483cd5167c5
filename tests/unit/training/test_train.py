"""What a run refuses, and when; the run itself is in tests/integration/test_train.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reverse_codi import train as module
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.schema import Recipe
from reverse_codi.traces.store import TraceStore
from reverse_codi.train import check_thoughts, train
from reverse_codi.training.learning_signal import NothingLearntError
from reverse_codi.training.prepare import Prepared
from reverse_codi.utils.config import RecipeError, UserError, override, validated
from reverse_codi.verbalize.thoughts import thought_sites
from tests.tiny import make_encoded

QUIET = Console(quiet=True)


def recipe(*words: str) -> Recipe:
    grpo = {"thoughts_per_step": 4, "samples": 2, "max_new_tokens": 24}
    return validated(Recipe, override({"grpo": grpo}, words), "recipe")


@pytest.fixture
def prepared(tiny_reasoner: CodiReasoner, tiny_traces: TraceStore, tiny_metric: ThoughtMetric) -> Prepared:
    claims = tiny_traces.claims
    sites = thought_sites(3)
    return Prepared(
        tiny_reasoner,
        tiny_traces,
        None,
        claims,
        tiny_traces,
        sites,
        make_encoded(3),
        tiny_metric,
        Path("unused"),
    )


def test_thoughts_that_can_teach_pass(prepared: Prepared) -> None:
    check_thoughts(recipe(), prepared, QUIET)


def test_fewer_active_thoughts_than_a_batch_are_refused(prepared: Prepared) -> None:
    active = len(prepared.thoughts(module.Split.TRAIN, active_only=True))
    check_thoughts(recipe("--grpo.thoughts_per_step", str(active)), prepared, QUIET)
    with pytest.raises(
        RecipeError, match=rf"there are {active} training thoughts that encode a step, so no step"
    ):
        check_thoughts(recipe("--grpo.thoughts_per_step", str(active + 1)), prepared, QUIET)
    check_thoughts(recipe("--grpo.thoughts_per_step", str(active + 1), "--grpo.steps", "0"), prepared, QUIET)


def test_a_limit_below_every_text_is_refused_and_below_some_reported(prepared: Prepared) -> None:
    with pytest.raises(
        NothingLearntError, match="max_new_tokens = 3 cuts every text that the warm start taught"
    ):
        check_thoughts(recipe("--grpo.max_new_tokens", "3"), prepared, QUIET)
    with Console(record=True, width=200) as console:
        check_thoughts(recipe("--grpo.max_new_tokens", "8"), prepared, console)
    assert (
        "of the texts that the warm start taught are longer than grpo.max_new_tokens = 8"
        in console.export_text()
    )


def test_a_run_that_its_traces_refuse_leaves_the_earlier_recipe(
    tmp_path: Path, tiny_folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any) -> Prepared:
        raise UserError("made with other settings")

    monkeypatch.setattr(module, "prepare", refuse)
    monkeypatch.setattr(module.preflight, "check_actors", lambda recipe: None)
    given = recipe("--train.out", str(tmp_path), "--reasoner.path", str(tiny_folders[0]))
    file = tmp_path / "recipe.yaml"
    for earlier in ("of an earlier run", None):
        if earlier is None:
            file.unlink()
        else:
            file.write_text(earlier)
        with pytest.raises(UserError, match="made with other settings"):
            train(given, QUIET)
        if earlier is None:  # nothing to lose, and whoever looks in sees what is running
            assert "thoughts_per_step: 4" in file.read_text()
        else:
            assert file.read_text() == earlier
