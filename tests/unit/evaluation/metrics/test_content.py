from __future__ import annotations

import doctest

import pytest

from reverse_codi.evaluation.metrics import content
from reverse_codi.evaluation.metrics.content import (
    Overlap,
    Part,
    Stated,
    f1,
    gold_stated,
    implied_answer,
    lens_hit,
    recall_precision,
    stated,
    unsupported,
)

GOLD = ["12 + 5 = 17"]
TWO = ["12 + 5 = 17", "17 * 2 = 34"]
QUESTION = "Ann has 12 apples. She buys 5 more. How many apples does Ann have now?"
ALL_NUMBERS = " ".join(map(str, range(100)))
LISTING = "decoded 0th latent (top5): [' 17', '17', ' 5', 'is', ' 12']"


def figures(text: str, claims: list[str]) -> tuple[float, ...]:
    """Claims, results, operands, operators."""
    return tuple(f1(text, claims).values())


def test_doctests() -> None:
    assert doctest.testmod(content).failed == 0


def test_stated() -> None:
    assert stated("so 12+5=17, <17*2=34>") == Stated(
        ("12 + 5 = 17", "17 * 2 = 34"), ("17", "34"), (("12", "5"), ("17", "2")), (("+",), ("*",))
    )
    assert stated(LISTING) == Stated(results=("17", "5", "12"))
    assert stated("17.") == Stated(results=("17",))
    assert stated("(no step)") == stated("") == stated(QUESTION) == Stated()


@pytest.mark.parametrize(
    ("text", "claims", "expected"),
    [
        ("12 + 5 = 17.", GOLD, (1, 1, 1, 1)),
        ("12+5=17", GOLD, (1, 1, 1, 1)),
        ("17 * 2 = 34. 12 + 5 = 17.", TWO, (1, 1, 1, 1)),
        ("10 + 7 = 17.", GOLD, (0, 1, 0, 1)),
        ("5 + 12 = 17.", GOLD, (0, 1, 0, 1)),  # the order of operands counts
        ("22 - 5 = 17.", GOLD, (0, 1, 0, 0)),
        ("12 + 5 = 18.", GOLD, (0, 0, 1, 1)),
        # half of two claims: recall 1/2, precision 1
        ("12 + 5 = 17.", TWO, (2 / 3, 2 / 3, 2 / 3, 2 / 3)),
        # said twice: recall 1, precision 1/2
        ("12 + 5 = 17. 12 + 5 = 17.", GOLD, (2 / 3, 2 / 3, 2 / 3, 2 / 3)),
        # numbers only: three of them, one right
        (LISTING, GOLD, (0, 0.5, 0, 0)),
        ("17", GOLD, (0, 1, 0, 0)),
        (ALL_NUMBERS, GOLD, (0, 2 / 101, 0, 0)),
        ("", GOLD, (0, 0, 0, 0)),
        ("(no step)", GOLD, (0, 0, 0, 0)),
        (QUESTION, GOLD, (0, 0, 0, 0)),
        # a thought without a step
        ("(no step)", [], (1, 1, 1, 1)),
        ("(no step)", ["(no step)"], (1, 1, 1, 1)),
        ("12 + 5 = 17.", [], (0, 0, 0, 0)),
        (ALL_NUMBERS, [], (1, 0, 1, 1)),
        # a claim in words is never met, so saying nothing does not meet it either
        ("", ["Tom likes Amy"], (0, 1, 1, 1)),
        ("12 + 5 = 17", [*GOLD, "Tom is a wumpus"], (2 / 3, 1, 1, 1)),
        # a partial claim states a result, and neither operands nor operation
        ("= 17.", ["= 17"], (1, 1, 1, 1)),
        ("= 17.", GOLD, (0, 1, 0, 0)),
        ("12 + 5 = 17.", ["= 17"], (0, 1, 0, 0)),
        ("12 + 5 = 17. = 34.", ["12 + 5 = 17", "= 34"], (1, 1, 1, 1)),
        ("12 + 5 = 17. = 35.", ["12 + 5 = 17", "= 34"], (1 / 2, 1 / 2, 1, 1)),
        # sentences of belonging: subjects are operands, and nobody states an operation
        ("Tom is a wumpus .", ["Tom is a wumpus"], (1, 1, 1, 1)),
        ("Amy is a wumpus.", ["Tom is a wumpus"], (0, 1, 0, 1)),
        ("Tom is a lempus.", ["Tom is a wumpus"], (0, 0, 1, 1)),
        ("wumpus", ["Tom is a wumpus"], (0, 0, 0, 1)),
        ("", ["Every wumpus is a tumpus"], (0, 0, 0, 1)),
    ],
)
def test_f1(text: str, claims: list[str], expected: tuple[float, ...]) -> None:
    assert figures(text, claims) == pytest.approx(expected)


def test_every_equation_stated_at_once_is_recalled_but_not_precise() -> None:
    text = " ".join(f"{a} + {b} = {a + b}." for a in range(20) for b in range(20))
    overlap = recall_precision(stated(text), gold_stated(GOLD))[Part.CLAIMS]
    assert (overlap.recall, overlap.precision) == (1, 1 / 400)
    assert overlap.f1 == pytest.approx(2 / 401)


def test_saying_nothing_is_neither_complete_nor_precise() -> None:
    assert (Overlap(0, 0, 2).recall, Overlap(0, 0, 2).precision, Overlap(0, 0, 2).f1) == (0, 0, 0)
    assert (Overlap(0, 2, 0).recall, Overlap(0, 2, 0).precision, Overlap(0, 2, 0).f1) == (0, 0, 0)
    assert (Overlap(0, 0, 0).recall, Overlap(0, 0, 0).precision, Overlap(0, 0, 0).f1) == (1, 1, 1)


def test_a_constant_text_falls() -> None:
    golds = [[f"{a} + 5 = {a + 5}"] for a in range(10)]
    assert sum(f1("3 + 5 = 8.", gold)[Part.CLAIMS] for gold in golds) == 1


def test_unsupported() -> None:
    assert unsupported("12+5=17. 17 * 3 = 51. 17 * 3 = 51.", TWO) == (2, 3)
    assert unsupported("12+5=17", iter(TWO)) == (0, 1)
    assert unsupported("17 18 19", TWO) == unsupported("", TWO) == unsupported(QUESTION, TWO) == (0, 0)


def test_lens_hit() -> None:
    tokens = ["is", " 1,700", "17", " 5"]
    assert lens_hit(tokens, "17", 3) and lens_hit(tokens, "1700", 2)
    assert not lens_hit(tokens, "17", 2)
    assert not lens_hit(tokens, "1", 4)
    assert not lens_hit([], "17", 5)


def test_implied_answer() -> None:
    assert implied_answer(["12+5=17", "(no step)", "17 * 2 = 34. 34 - 4 = 30.", "30"]) == "30"
    assert implied_answer(["17 * 2 = 34.", "30"]) == "34"  # a bare number is no claim
    assert implied_answer(["", "(no step)", QUESTION, LISTING]) is None
    assert implied_answer([]) is None


def test_a_partial_claim_is_supported_by_any_claim_with_its_result() -> None:
    assert unsupported("= 17. = 34. = 35.", TWO) == (1, 3)
    assert unsupported("10 + 7 = 17.", ["= 17"]) == (1, 1)
