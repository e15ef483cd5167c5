from __future__ import annotations

import doctest

import pytest

import reverse_codi.tasks.listings
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.tasks.listings import latent_tokens, listing_results

LISTING = """Question0...
CoT=<<16-3-4=9>>, Answer=18.0
decoded 0th latent (top5): [' 13', '13', ' thirteen', '-', ' 1,300']
Decoded 1st latent (top 5): ["'", ' .5', '\\n', "'s", 'x']
decoded 3rd latent (topk): []
Model Prediction: 18
"""


def test_doctests() -> None:
    assert doctest.testmod(reverse_codi.tasks.listings).failed == 0


def test_listing() -> None:
    assert latent_tokens(LISTING) == [
        [" 13", "13", " thirteen", "-", " 1,300"],
        ["'", " .5", "\n", "'s", "x"],
        [],
    ]
    assert listing_results(LISTING) == [["13", "1300"], ["0.5"], []]


@pytest.mark.parametrize(
    ("tokens", "numbers"),
    [
        (r"['\xa0', '\u00a7', '\\', '\'', '7']", ["7"]),  # an escape's digits are no number
        (r"['a]b', ' 8', '(', ', 9']", ["8", "9"]),
        (r"['5', '\xzz']", ["5"]),  # what Python never writes is skipped
        (r"['13', '1", ["13"]),  # cut off
        ("13, 14", []),
    ],
)
def test_odd_tokens(tokens: str, numbers: list[str]) -> None:
    assert listing_results(f"decoded 2nd latent (top5): {tokens}") == [numbers]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("17.", ["17"]),
        ("13 14 13", ["13", "14"]),
        ("[' 13', '1,080', '.5', '-3', '$4']", ["13", "1080", "0.5", "-3", "4"]),
        (" ".join(map(str, range(100))), [str(i) for i in range(100)]),
    ],
)
def test_bare_numbers(text: str, numbers: list[str]) -> None:
    assert listing_results(text) == [numbers]


@pytest.mark.parametrize(
    "text", ["", "(no step)", "12 + 5 = 17", "12 - 5", "10-3", "He has 13.", "...", "Ann has 12. Ben has 5."]
)
def test_what_is_no_listing(text: str) -> None:
    assert listing_results(text) == []


def test_long_text_is_read_fast() -> None:
    assert listing_results("9" * 50_000 + "x") == []
    assert listing_results("1 " * 50_000) == [["1"]]


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("<<16-3-4=9>> <<9*2=18>>", ["16 - 3 - 4 = 9", "9 * 2 = 18"]),
        ("<<16-3-4=9>><<9*2=18>>", ["16 - 3 - 4 = 9", "9 * 2 = 18"]),
        ("<<1,200+1,300=2,500>>", ["1200 + 1300 = 2500"]),
        ("<<2.50*2=5.00>>", ["2.5 * 2 = 5"]),
        ("1/2=.5", ["1 / 2 = 0.5"]),
        ("<<1/2=.5>>", ["1 / 2 = 0.5"]),
    ],
)
def test_the_equation_parser_reads_third_party_steps(text: str, claims: list[str]) -> None:
    equations = parse_equations(text)
    assert [equation.claim for equation in equations] == claims
    assert all(equation.holds for equation in equations)
