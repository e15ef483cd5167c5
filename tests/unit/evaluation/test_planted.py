from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reverse_codi.evaluation.planted import PLANTS, plant, problems_of, recovered
from reverse_codi.reading.claims import NO_STEP, Content
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.schema import Recipe
from tests.tiny import make_tiny_reasoner

pytestmark = pytest.mark.long

CLAIMS = ["12 + 5 = 17", "17 * 2 = 34"]


def test_what_a_site_is_planted_with() -> None:
    said = {str(plant): plant.text(CLAIMS) for plant in PLANTS}
    assert said == {
        "step 1": "12 + 5 = 17.",
        "nothing": NO_STEP,
        "result 2": "= 34.",
        "step 1 and step 2": "12 + 5 = 17. 17 * 2 = 34.",
        "step 2": "17 * 2 = 34.",
        "result 1": "= 17.",
    }
    assert Content((1,)).text(CLAIMS[:1]) == NO_STEP
    assert Content((0, 1)).text(CLAIMS[:1]) == "12 + 5 = 17."


@pytest.fixture(scope="module")
def reasoner() -> CodiReasoner:
    return make_tiny_reasoner(n_thoughts=3, hidden=96, layers=1)


def recipe() -> Recipe:
    return Recipe.model_validate(
        {"trace": {"n": 1500, "n_heldout": 300}, "reading": {"spec": {"ridge": "auto"}}}
    )


def test_two_steps_in_one_thought_are_found(tmp_path: Path) -> None:
    reasoner = make_tiny_reasoner(n_thoughts=4, hidden=96, layers=1)
    planted = plant(recipe(), reasoner, problems_of(recipe(), 1500, 300), tmp_path, noise=0.3)
    rows = recovered(recipe(), reasoner, planted, tmp_path / "reading")
    assert str(rows[3].plant) == "step 1 and step 2"
    assert [row.held for row in rows] == [1.0, 1.0, 1.0, 1.0]
    assert rows[3].retrieval is not None and rows[3].retrieval >= 0.9


def test_preparation_finds_what_was_planted(reasoner: CodiReasoner, tmp_path: Path) -> None:
    problems = problems_of(recipe(), 1500, 300)
    planted = plant(recipe(), reasoner, problems, tmp_path, noise=0.3)
    rows = recovered(recipe(), reasoner, planted, tmp_path / "reading")
    assert [str(row.plant) for row in rows] == ["step 1", "nothing", "result 2"]
    assert [row.held for row in rows] == [1.0, 1.0, 1.0]
    step, nothing, result = rows
    assert step.optimum is not None and step.retrieval is not None and step.match is not None
    assert step.optimum >= 0.95 and step.retrieval >= 0.9 and step.match > 0.5
    assert (nothing.retrieval, nothing.optimum, nothing.match) == (None, None, None)
    assert result.optimum is None or result.optimum > 0.9


def test_a_thought_is_a_fixed_map_of_its_text_and_noise(reasoner: CodiReasoner, tmp_path: Path) -> None:
    problems = problems_of(recipe(), 200, 60)
    planted = plant(recipe(), reasoner, problems, tmp_path, noise=0.1)
    site, what = Site("h", 0), planted.contents[Site("h", 0)]
    thoughts = planted.train.vectors(site)
    texts = [what.text(claims) for claims in planted.train.claims]
    rest = thoughts - planted.planting.optimum[site].predict(
        planted.planting.reader.features(texts, planted.train.questions)
    )
    assert float(rest.std()) == pytest.approx(0.1, rel=0.05)
    assert float(thoughts.std()) == pytest.approx(1.0, rel=0.1)
    # What holds nothing is as large as what holds something.
    assert float(planted.train.vectors(Site("h", 1)).std()) == pytest.approx(1.0, rel=0.1)


def test_another_seed_plants_by_another_map(reasoner: CodiReasoner, tmp_path: Path) -> None:
    problems = problems_of(recipe(), 40, 20)
    one, again, other = (
        plant(recipe(), reasoner, problems, tmp_path / name, noise=0.1, seed=seed)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    site = Site("h", 0)
    assert torch.equal(one.train.vectors(site), again.train.vectors(site))
    assert not torch.allclose(one.train.vectors(site), other.train.vectors(site), atol=0.1)
