from __future__ import annotations

import doctest
from pathlib import Path

import pytest
import torch

import reward.gold_claim
from reverse_codi.errors import RecipeError
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reasoners.sites import Site
from reverse_codi.rewards.registry import find, names
from tests.fakes import called
from tests.tiny import make_batch, make_rows, make_table_metric

SITE = Site("h", 1)
CLAIMS = ["12 + 5 = 17", "17 * 2 = 34"]


def values(texts: list[str], claims: list[str] | None = CLAIMS, **options: str) -> list[float | None]:
    rows = make_rows(
        texts, torch.zeros(len(texts), 1), SITE, claims=None if claims is None else [claims] * len(texts)
    )
    batch = make_batch(rows, make_table_metric({"": [0.0]}, SITE, [0.0]))
    return called(find("gold_claim", options), batch)


@pytest.fixture
def encoded_file(tmp_path: Path) -> str:
    """h1 holds the second of two steps, and none of three."""
    path = tmp_path / "encoded_steps.json"
    path.write_text(EncodedSteps({(SITE, 2): [0.0, 1.0], (SITE, 3): [0.0, 0.0, 0.0]}, 0.5).to_json())
    return str(path)


def test_doctests() -> None:
    assert doctest.testmod(reward.gold_claim).failed == 0


def test_any_claim_of_the_problem_is_as_good() -> None:
    # 12 - 4 = 8 shares one of four words with the nearest claim; 9 + 3 = 17 shares two, in order
    texts = ["12+5=17.", "17 * 2 = 34. 12 + 5 = 17.", "12 - 4 = 8", "9 + 3 = 17", "words alone"]
    assert values(texts) == pytest.approx([1.0, 1.0, 0.25, 0.5, 0.0])


def test_with_encoded_steps_just_the_sites_own_claims_count(encoded_file: str) -> None:
    # The other step's claim has no word of this one in order but 17; both claims: (1/2 (1 + 1/4) + 1) / 2
    texts = ["17 * 2 = 34", "12 + 5 = 17", "12 + 5 = 17. 17 * 2 = 34."]
    assert values(texts, encoded_steps=encoded_file) == pytest.approx([1.0, 0.25, 0.8125])


def test_a_step_that_is_made_twice_must_be_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "encoded_steps.json"
    path.write_text(EncodedSteps({(SITE, 3): [1.0, 1.0, 1.0]}, 0.5).to_json())
    chain = ["10 - 5 = 5", "5 * 2 = 10", "10 - 5 = 5"]
    texts = ["10 - 5 = 5. 5 * 2 = 10. 10 - 5 = 5.", "10 - 5 = 5. 5 * 2 = 10."]
    whole, once = values(texts, chain, encoded_steps=str(path))
    assert whole == 1.0 and once == pytest.approx((1 + 2 / 3) / 2)
    assert values(["12 + 5 = 17. 12 + 5 = 17."]) == [0.5]  # and what is there once is not won twice


def test_a_thought_without_a_step_is_best_written_so(encoded_file: str) -> None:
    three = [*CLAIMS, "34 - 4 = 30"]
    assert values(["( no step )", "34 - 4 = 30"], three, encoded_steps=encoded_file) == [1.0, 0.0]


def test_claims_in_words() -> None:
    gold = ["Every rompus is a lempus"]
    assert values(["Every rompus is a lempus.", "Every tirp is a velm."], gold) == pytest.approx([1.0, 0.6])


@pytest.mark.parametrize("claims", [None, []])
def test_it_does_not_apply_without_claims(claims: list[str] | None) -> None:
    assert values(["12 + 5 = 17"], claims) == [None]


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RecipeError, match=r"no file nowhere\.json.*reading/encoded_steps\.json"):
        find("gold_claim", {"encoded_steps": "nowhere.json"})


def test_it_alone_is_flagged_as_supervised() -> None:
    assert [name for name, record in names().items() if record.supervised] == ["gold_claim"]
