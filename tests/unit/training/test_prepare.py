from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.stages import StageError
from reverse_codi.tasks.base import Split
from reverse_codi.training import prepare as preparation
from reverse_codi.training.prepare import Prepared, prepare
from reverse_codi.verbalize.self_generated_cot import SelfGeneratedCot
from tests.tiny import make_encoded


def test_training_thoughts_are_chosen_by_the_steps_that_the_recipe_allows(prepared: Prepared) -> None:
    train = prepared.thoughts(Split.TRAIN, active_only=True)
    assert {str(site) for site in train.sites} == {"h0"} and set(train.gold) == {"1 + 1 = 2."}
    heldout = prepared.thoughts(Split.HELDOUT, active_only=True)
    assert heldout.gold[0] == f"{prepared.heldout.claims[0][0]}."


@pytest.mark.parametrize(
    ("fit_on", "kind", "needed"),
    [
        ("gold", "gold", False),
        ("written", "gold", True),
        ("gold", "written", True),
        ("gold", "nearest", True),
        ("written", "nearest", True),
    ],
)
def test_the_model_writes_only_where_maps_or_warm_start_are_made_from_what_it_writes(
    fit_on: str, kind: str, needed: bool
) -> None:
    recipe = Recipe.model_validate({"reading": {"fit_on": fit_on}, "warm_start": {"kind": kind}})
    assert recipe.needs_self_generated_cot == needed


@pytest.mark.parametrize(
    ("fit_on", "kind", "traces"),
    [
        ("gold", "gold", 0),
        ("gold", "written", 30),
        ("written", "gold", 0),
        ("written", "nearest", 0),
        ("written", "written", 4),
    ],
)
def test_preparing_keeps_self_generated_cot_where_they_are_needed_and_fits_maps_on_the_claims_asked_for(
    tiny_folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fit_on: str,
    kind: str,
    traces: int,
) -> None:
    fitted: list[list[list[str]]] = []
    fit = preparation.fit_metric

    def recorded(*arguments: Any) -> ThoughtMetric:
        fitted.append(arguments[4])
        return fit(*arguments)

    def encoded_by_all(
        probed: Any, claims: list[list[str]], threshold: float, *, moved: dict[Any, float]
    ) -> EncodedSteps:
        fitted.append(claims)
        return make_encoded(3)

    monkeypatch.setattr(preparation, "fit_metric", recorded)
    monkeypatch.setattr(preparation, "find_encoded_steps", encoded_by_all)
    written = [["1 + 1 = 2"]] * 50
    claims = [["1 + 1 = 3"] if row in (2, 5) else claims for row, claims in enumerate(written)]
    monkeypatch.setattr(
        preparation, "self_generated_cot", lambda *arguments: SelfGeneratedCot(written, claims)
    )
    recipe = Recipe.model_validate(
        {
            "reasoner": {"path": str(tiny_folders[0])},
            "trace": {"out": str(tmp_path / "traces"), "n": 50, "n_heldout": 10},
            "reading": {"fit_on": fit_on, "disagreeing": 3, "traces": traces},
            "warm_start": {"kind": kind},
        }
    )
    prepared = prepare(recipe, tmp_path / "out")
    assert (prepared.own is None) == (not recipe.needs_self_generated_cot)
    probed, read = fitted
    n = traces or 50
    assert probed == prepared.claims[:n]
    if fit_on == "gold":
        assert prepared.claims == prepared.train.claims
        assert read == prepared.claims[:n]
    else:
        assert prepared.claims == claims
        again = 2 * sum(row < n for row in (2, 5))  # disagreeing traces count three times
        assert read == [*claims[:n], *[["1 + 1 = 3"]] * again]
    again = prepare(recipe, tmp_path / "out")
    assert len(fitted) == 2  # not fitted again
    assert (again.own, again.claims, again.encoded) == (prepared.own, prepared.claims, prepared.encoded)
    other = recipe.reading.model_copy(update={"framed": 0.25})
    with pytest.raises(StageError, match=r"reading was made with reading\.framed = 0\.65, now 0\.25; set"):
        prepare(recipe.model_copy(update={"reading": other}), tmp_path / "out")
