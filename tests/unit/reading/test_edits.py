from __future__ import annotations

import doctest
import random

import pytest

import reverse_codi.reading.edits as edits
from reverse_codi.reading.edits import TEMPLATES, number_changed, paraphrases, result_swapped, shuffled
from reverse_codi.tasks.arithmetic import Arithmetic, split_words
from reverse_codi.tasks.equations import parse_equations


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("0", {"1", "2", "3"}),
        ("x 10 y", {f"x {i} y" for i in (7, 8, 9, 11, 12, 13)}),
        ("1,000", {"997", "998", "999", "1,001", "1,002", "1,003"}),
        ("0.05", {"0.02", "0.03", "0.04", "0.06", "0.07", "0.08"}),
        ("none", {"none"}),
    ],
)
def test_number_changed(text: str, allowed: set[str]) -> None:
    assert {number_changed(text, random.Random(seed)) for seed in range(200)} == allowed


def test_result_swapped_and_shuffled_keep_the_words() -> None:
    assert result_swapped("so 12 + 5 = 17 apples", random.Random(0)) == "so 12 + 17 = 5 apples"
    assert result_swapped("12 + 5", random.Random(0)) == "12 + 5"
    words = "a b c d e f"
    assert sorted(shuffled(words, random.Random(0)).split()) == words.split()


def known(text: str) -> bool:
    return True


def test_doctests() -> None:
    assert doctest.testmod(edits).failed == 0


def test_a_paraphrase_for_each_template_with_the_same_claims() -> None:
    text = "12 + 5 = 17. 17 * 2 = 34."
    worded = paraphrases(text, known)
    assert worded == paraphrases(text, known)
    assert len(set(worded)) == len(TEMPLATES) and text not in worded
    assert worded[0] == "She gets 12 + 5 = 17 now. She gets 17 * 2 = 34 now."
    assert worded[-1] == "We find that 12 + 5 equals 17. We find that 17 * 2 equals 34."
    for template, wording in zip(TEMPLATES, worded, strict=True):
        if "{claim}" in template:  # "Now 12 + 5 is 17." is no equation to the parser
            assert [e.claim for e in parse_equations(wording)] == ["12 + 5 = 17", "17 * 2 = 34"]


@pytest.mark.parametrize("text", ["", "(no step)", "17", "12 5 17 34", "Ann has 12 apples."])
def test_no_claim_no_paraphrase(text: str) -> None:
    assert paraphrases(text, known) == []


def test_templates_with_unknown_words_are_dropped() -> None:
    vocabulary = set(Arithmetic().vocabulary())
    worded = paraphrases("12 + 5 = 17.", lambda text: vocabulary.issuperset(split_words(text)))
    assert worded == [template.format(claim="12 + 5 = 17") for template in TEMPLATES[:3]]
    assert paraphrases("12 + 5 = 17.", lambda text: False) == []


def test_a_rule_is_turned_round_and_a_fact_is_not() -> None:
    assert result_swapped("Every wumpus is a tumpus.", random.Random(0)) == "Every tumpus is a wumpus."
    assert result_swapped("Tom is a wumpus.", random.Random(0)) == "Tom is a wumpus."
