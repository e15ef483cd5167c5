from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from reverse_codi import preparation
from reverse_codi.evaluation.select import thought_sites
from reverse_codi.preparation import Prepared, warm_policy, warm_texts
from reverse_codi.reading.measure import Measure
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe import Recipe
from reverse_codi.tasks.base import Split
from reverse_codi.traces import TraceStore
from reverse_codi.verbalizer.warm_start import Pairs, WarmStartSection
from tests.tiny import make_held


@pytest.fixture
def prepared(tiny_reasoner: CodiReasoner, tiny_traces: TraceStore, tiny_measure: Measure) -> Prepared:
    """Traces whose own written steps are not the gold ones."""
    own = [["1 + 1 = 2"] for _ in tiny_traces.claims]
    sites = thought_sites(3)
    return Prepared(
        tiny_reasoner, tiny_traces, None, own, tiny_traces, sites, make_held(3), tiny_measure, Path("unused")
    )


def test_training_thoughts_are_chosen_by_the_steps_that_the_recipe_allows(prepared: Prepared) -> None:
    train = prepared.thoughts(Split.TRAIN, live_only=True)
    assert {str(site) for site in train.sites} == {"h0"} and set(train.gold) == {"1 + 1 = 2."}
    heldout = prepared.thoughts(Split.HELDOUT, live_only=True)
    assert heldout.gold[0] == f"{prepared.heldout.claims[0][0]}."


def test_gold_texts_are_gold_whatever_the_maps_are_fitted_on(prepared: Prepared) -> None:
    thoughts = prepared.thoughts(Split.TRAIN, live_only=False)
    texts = warm_texts(Recipe(), prepared, thoughts)
    for text, problem, site in zip(texts, thoughts.problems, thoughts.sites, strict=True):
        claims = prepared.train.claims[problem]
        assert text == prepared.held.text(site, claims)


def test_only_the_labelled_problems_are_taught(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[Pairs] = []
    monkeypatch.setattr(preparation, "warm_start", lambda *arguments: taught.append(arguments[4]))
    recipe = Recipe(warm_start=WarmStartSection(problems=7))
    warm_policy(recipe, prepared, tmp_path, Console(quiet=True))
    assert len(taught[0].texts) == 7 * 3
    warm_policy(Recipe(), prepared, tmp_path / "all", Console(quiet=True))
    assert len(taught[1].texts) == len(prepared.train) * 3
