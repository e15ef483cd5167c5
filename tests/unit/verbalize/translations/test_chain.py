from __future__ import annotations

import doctest
from dataclasses import replace

import pytest

from reverse_codi.verbalize.translations import chain
from reverse_codi.verbalize.translations.chain import chain_text
from reverse_codi.verbalize.translations.record import Translation

ROW = Translation("How many?", "h0", "", 0.9, 1.0, ["17"], "The answer is: 17")


def chained(*texts: str) -> str:
    return chain_text([replace(ROW, translation=text) for text in texts])


def test_doctests() -> None:
    assert doctest.testmod(chain).failed == 0


@pytest.mark.parametrize(
    "steps",
    [
        ["10 - 5 = 5", "5 * 2 = 10", "10 - 5 = 5"],
        ["20 - 10 = 10", "10 * 2 = 20", "20 - 10 = 10"],
        ["8 + 4 = 12", "12 - 4 = 8", "8 + 4 = 12"],
        ["8 + 4 = 12", "12 - 4 = 8", "8 + 4 = 12", "12 - 4 = 8"],
    ],
)
def test_a_step_that_is_made_twice_stands_twice(steps: list[str]) -> None:
    whole = " ".join(f"{step}." for step in steps)
    assert chained(*(f"{step}." for step in steps), "(no step)") == whole
    assert chained(whole) == whole  # one text for the whole trace
    # Each thought holds its own step and the one before.
    pairs = [" ".join(f"{step}." for step in steps[max(0, k - 1) : k + 1]) for k in range(len(steps))]
    assert chained(*pairs) == whole


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["1 + 1 = 2.", "1 + 1 = 2. 2 * 3 = 6."], "1 + 1 = 2. 2 * 3 = 6."),
        (["1 + 1 = 2.", "1+1=2 . 2 * 3 = 6.", "2 * 3 = 6."], "1 + 1 = 2. 2 * 3 = 6."),
        (["1 + 1 = 2. 2 * 3 = 6.", "1 + 1 = 2."], "1 + 1 = 2. 2 * 3 = 6."),
        (["1 + 1 = 2. 2 * 3 = 6.", "1 + 1 = 2. 6 - 1 = 5."], "1 + 1 = 2. 2 * 3 = 6. 6 - 1 = 5."),
        (["1 + 1 = 2.", "(no step)", "1 + 1 = 2."], "1 + 1 = 2. 1 + 1 = 2."),
        (["17 * 0.5 = 8.5 ."], "17 * 0.5 = 8.5."),
        (
            ["Tom is an impus.", "Tom is an impus. Every impus is a gorp."],
            "Tom is an impus. Every impus is a gorp.",
        ),
        (["(no step)", "( no step )"], "(no step)"),
    ],
)
def test_what_the_neighbour_says_is_restated_once(texts: list[str], wanted: str) -> None:
    assert chained(*texts) == wanted


def test_rows_that_are_not_trusted_are_left_out_and_restate_nothing() -> None:
    rows = [
        replace(ROW, translation="12 + 5 = 17 ."),
        replace(ROW, translation="9 + 9 = 18 .", trust=0.5),
        replace(ROW, translation="9 + 9 = 18 . 17 * 0.5 = 8.5 ."),
    ]
    assert chain_text(rows) == "12 + 5 = 17. 9 + 9 = 18. 17 * 0.5 = 8.5."
    assert chain_text(rows[1:2]) == "(no step)"


def test_rows_that_could_not_be_scored_are_part_of_it() -> None:
    row = replace(ROW, translation="12 + 5 = 17.", match=None, trust=None, lens=None)
    assert row.trusted is None and chain_text([row]) == "12 + 5 = 17."
