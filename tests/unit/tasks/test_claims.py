from __future__ import annotations

import doctest

import pytest

import reverse_codi.tasks.claims as claims
from reverse_codi.tasks.base import Split
from reverse_codi.tasks.claims import (
    Belonging,
    PartialClaim,
    claims_of,
    of_slots,
    parse_belongings,
    parse_claims,
    result_of,
    stated,
    with_result,
)
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.tasks.graph import Graph


def test_doctests() -> None:
    assert doctest.testmod(claims).failed == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Tom is a wumpus.", ["Tom is a wumpus"]),
        ("Tom is a wumpus . Every wumpus is a tumpus .", ["Tom is a wumpus", "Every wumpus is a tumpus"]),
        ("The answer is: Tom is a wumpus", ["Tom is a wumpus"]),
        ("Every impus is an ompus", ["Every impus is a ompus"]),
        ("Tom is a wumpus\nAmy is a lempus", ["Tom is a wumpus", "Amy is a lempus"]),
        ("Is Tom a wumpus or lempus?", []),
        ("every wumpus is a tumpus", []),
        ("Tom is a wumpus with 3 eggs.", []),  # more is said than who belongs where
        ("So Tom is a wumpus.", []),
        ("There is a pile.", []),
        ("wumpus", []),
        ("", []),
        ("Tom is not a wumpus.", []),
    ],
)
def test_parse_belongings(text: str, said: list[str]) -> None:
    assert [message.claim for message in parse_belongings(text)] == said


def test_canonical_text_is_a_fixed_point() -> None:
    for problem in Graph().problems(Split.TRAIN, 100, 0):
        for claim, step in zip(problem.claims, problem.steps, strict=True):
            (message,) = parse_belongings(f"{claim}.")
            assert (message.claim, message.result) == (claim, step.result)
            assert of_slots(message.slots) == claim


def test_everything_that_a_question_tells_is_parsed_and_nothing_that_it_asks() -> None:
    for problem in Graph().problems(Split.TRAIN, 100, 0):
        sentences = problem.question.split(". ")
        assert [f"{t.claim}" for t in parse_belongings(problem.question)] == sentences[:-1]


def test_equations_go_first_and_are_the_parsers_own() -> None:
    text = "Tom is a farmer. 12 + 5 = 17."
    assert list(parse_claims(text)) == parse_equations(text)
    assert [message.claim for message in parse_claims("Tom is a farmer.")] == ["Tom is a farmer"]
    assert parse_claims("(no step)") == []


def test_slots_make_the_claim_again() -> None:
    for text in ("12 + 5 = 17", "Tom is a wumpus", "Every wumpus is a tumpus"):
        (message,) = parse_claims(text)
        assert of_slots(message.slots) == message.claim == text


@pytest.mark.parametrize(
    ("claim", "result", "changed"),
    [
        ("12 + 5 = 17", "20", "12 + 5 = 20"),
        ("Every wumpus is a tumpus", "lempus", "Every wumpus is a lempus"),
        ("Tom is a wumpus", "lempus", "Tom is a lempus"),
        ("Tom is a wumpus", "True", "Tom is a wumpus"),  # ProntoQA's answers are no classes
    ],
)
def test_with_result(claim: str, result: str, changed: str) -> None:
    assert with_result(claim, result) == changed
    if changed != claim:
        assert result_of(changed) == result


def test_near_misses_are_of_the_questions_own_names() -> None:
    question = "Tom is a wumpus. Every wumpus is a tumpus. Amy is a lempus. Is Tom a tumpus or lempus?"
    rule = [near.claim for near in Belonging("wumpus", "tumpus").near(question)]
    assert rule == ["Every wumpus is a lempus", "Every lempus is a tumpus"]
    fact = [near.claim for near in Belonging("Tom", "wumpus").near(question)]
    assert fact == ["Tom is a lempus", "Tom is a tumpus", "Amy is a wumpus"]
    assert Belonging("Tom", "wumpus").near("12 + 5 = 17") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("= 17", ["= 17"]),
        ("= 17.", ["= 17"]),
        (" = 1,600 .", ["= 1600"]),
        ("=17.50.", ["= 17.5"]),
        ("= -3.", ["= -3"]),
        ("= $17.", ["= 17"]),
        ("= 40%.", ["= 40"]),
        ("= 17 red apples.", ["= 17"]),
        ("12 + 5 = 17. = 34.", ["12 + 5 = 17", "= 34"]),
        ("12 + 5 = 17 . = 34 .", ["12 + 5 = 17", "= 34"]),
        ("= 17. 17 * 2 = 34. = 3.", ["= 17", "17 * 2 = 34", "= 3"]),
        ("= 17. = 17.", ["= 17", "= 17"]),
        ("= tumpus.", ["= tumpus"]),
        (
            "Tom is a wumpus. = tumpus. Every tumpus is a gorp.",
            ["Tom is a wumpus", "= tumpus", "Every tumpus is a gorp"],
        ),
        # no sentence of its own
        ("x = 17", []),
        ("so = 17", []),
        ("so, = 17.", []),
        ("12 + 5\n= 17", []),
        ("12 + = 17", []),
        ("= 17 = 34", []),
        ("= 17 5", []),
        ("= 17 - 3", []),
        ("=", []),
        ("== 17", []),
        ("= .", []),
        ("12 + 5 = 17 = 34", ["12 + 5 = 17"]),
        ("12 + 5 = 17\n= 34", ["12 + 5 = 17"]),
        ("= 17 - 3 = 14", ["17 - 3 = 14"]),
        ("<<=17>>", []),
    ],
)
def test_a_partial_claim_is_a_sentence_of_an_equals_sign_and_a_result(text: str, said: list[str]) -> None:
    assert claims_of(text) == said
    assert claims_of(" ".join(f"{claim}." for claim in said)) == said


def test_a_partial_claim_has_no_operands_and_is_no_whole_claim() -> None:
    (partial,) = parse_claims("= 17.")
    (whole,) = parse_claims("12 + 5 = 17.")
    assert (partial.claim, partial.result, partial.operands) == ("= 17", "17", ())
    assert partial.slots == ("", "", "", "17") and of_slots(partial.slots) == "= 17"
    assert PartialClaim("tumpus").slots == ("", "tumpus") and of_slots(["", "tumpus"]) == "= tumpus"
    assert partial != whole and partial.claim != whole.claim
    assert result_of("= 17") == result_of(whole.claim) == "17"
    assert with_result("= 17", "19") == "= 19"
    assert stated("12 + 5 = 17. = 34.") == ["12 + 5 = 17", "= 34"]
