"""Sampled texts, counted by what they say."""

from __future__ import annotations

from reverse_codi.reading.claims import stated
from reverse_codi.reports.alternatives import Alternative, alternatives


def test_equal_claims_are_counted_together_in_the_words_that_occur_most() -> None:
    samples = ["9 + 9 = 18", "9+9=18", "9 + 9 = 18", "12 + 5 = 17.", "12 + 5=17", "(no step)"]
    assert alternatives("12 + 5 = 17 .", samples) == [
        Alternative("12 + 5 = 17 .", 2, True, True),
        Alternative("9 + 9 = 18", 3, False, True),
        Alternative("(no step)", 1, False, True),
    ]


def test_the_greedy_text_is_first_even_where_no_sample_says_it() -> None:
    assert alternatives("1 + 1 = 2.", ["2 + 2 = 4.", "so"]) == [
        Alternative("1 + 1 = 2.", 0, True, True),
        Alternative("2 + 2 = 4.", 1, False, True),
        Alternative("so", 1, False, False),
    ]
    assert alternatives("(no step)", []) == [Alternative("(no step)", 0, True, True)]


def test_a_greedy_text_without_a_claim_is_not_counted_with_others_of_its_kind() -> None:
    found = alternatives("so", [" so ", "no", "no", "yes"])
    assert [(each.text, each.count, each.greedy) for each in found] == [("so", 1, True), ("no", 3, False)]


def test_operands_make_another_content() -> None:
    assert stated("8 + 9 = 17.") != stated("12 + 5 = 17.") == stated("12+5 = 17")
