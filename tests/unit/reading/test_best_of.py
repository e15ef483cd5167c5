from __future__ import annotations

import doctest

import pytest

from reverse_codi.reading import best_of as module
from reverse_codi.reading.best_of import MARGIN, best_of, candidates


def test_doctests() -> None:
    assert doctest.testmod(module).failed == 0


def test_texts_that_claim_nothing_are_no_candidates() -> None:
    garbled = ["(no no)", "step no step)", "28 no)))", "", "( no no ) )", "1 2 = 4"]
    assert candidates(garbled) == []
    assert candidates(["(no step)", *garbled, "( no step )"]) == ["(no step)"]
    assert candidates(["Tom is a wumpus.", "Tom is is a", "Tom is an wumpus"]) == ["Tom is a wumpus."]


def test_order_and_count_of_claims_make_another_text() -> None:
    texts = ["1 + 2 = 3. 3 * 2 = 6.", "3 * 2 = 6. 1 + 2 = 3.", "1 + 2 = 3.", "1 + 2 = 3. 1 + 2 = 3."]
    assert candidates(texts) == texts


def test_the_first_choice_is_left_for_a_margin_only() -> None:
    texts = ["1 + 1 = 2.", "1 + 2 = 3."]
    assert best_of(texts, [0.80, 0.80 + MARGIN - 0.01], texts[0]) == texts[0]
    assert best_of(texts, [0.80, 0.80 + MARGIN + 0.01], texts[0]) == texts[1]
    assert best_of(texts, [0.80, 0.81], texts[0], margin=0) == texts[1]


def test_a_first_choice_that_claims_nothing_gives_way_to_any_candidate() -> None:
    assert best_of(["1 + 1 = 2.", "1 + 2 = 3."], [-5.0, -4.0], "28 no)))") == "1 + 2 = 3."
    assert best_of(["1 + 1 = 2.", "1 + 2 = 3."], [-5.0, -4.0], None) == "1 + 2 = 3."


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_a_match_that_is_no_number_does_not_win(bad: float) -> None:
    texts = ["1 + 1 = 2.", "1 + 2 = 3."]
    assert best_of(texts, [0.5, bad], texts[0]) == texts[0]
