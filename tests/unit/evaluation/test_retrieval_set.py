from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reverse_codi.evaluation.counterfactual import near_claims
from reverse_codi.evaluation.defaults import AMONG
from reverse_codi.evaluation.retrieval_set import EACH, RetrievalSet
from reverse_codi.reading.claims import claims_text
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.arithmetic import Arithmetic, split_words
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.verbalize.thoughts import Thoughts
from tests.tiny import make_problems

VOCABULARY = set(Arithmetic().vocabulary())
SITES = 4


def knows(text: str) -> bool:
    return VOCABULARY.issuperset(split_words(text))


def make_thoughts(n: int) -> tuple[Thoughts, list[list[int]]]:
    """Four thoughts a problem; thought k holds step k."""
    rows = [(p, k, problem) for p, problem in enumerate(make_problems(n)) for k in range(SITES)]
    steps = [[k] if k < len(problem.claims) else [] for _, k, problem in rows]
    predictions = [
        [problem.claims[s] for s in of_row] for (*_, problem), of_row in zip(rows, steps, strict=True)
    ]
    thoughts = Thoughts(
        slots=torch.zeros(len(rows), 1, 1),
        targets=torch.zeros(len(rows), 1),
        sites=[Site("h", k) for _, k, _ in rows],
        problems=[p for p, _, _ in rows],
        questions=[problem.question for *_, problem in rows],
        gold=[claims_text(claims) for claims in predictions],
        claims=[problem.claims for *_, problem in rows],
        answers=[problem.answer for *_, problem in rows],
    )
    return thoughts, steps


THOUGHTS, STEPS = make_thoughts(60)
ACTIVE_SHARE = [row for row, steps in enumerate(STEPS) if steps]
GOLD = {THOUGHTS.gold[row] for row in ACTIVE_SHARE}


@pytest.fixture(scope="module")
def candidates() -> RetrievalSet:
    return RetrievalSet(THOUGHTS, STEPS, knows)


def claims_of(text: str) -> list[str]:
    return [equation.claim for equation in parse_equations(text)]


def operators_of(text: str) -> list[tuple[str, ...]]:
    return [equation.operators for equation in parse_equations(text)]


def test_every_thought_has_63_known_others_and_none_says_the_same(candidates: RetrievalSet) -> None:
    for row in ACTIVE_SHARE:
        own = THOUGHTS.gold[row]
        others = candidates.of(row, own)
        assert len(others) == len(set(others)) == AMONG - 1
        assert all(claims_of(other) != claims_of(own) and knows(other) for other in others)


def test_another_spelling_of_the_own_text_is_no_candidate_either(candidates: RetrievalSet) -> None:
    row = ACTIVE_SHARE[0]
    own = THOUGHTS.gold[row]
    spelled = f"So we get {own.replace(' ', '')}"
    assert claims_of(spelled) == claims_of(own)
    assert candidates.of(row, spelled) == candidates.of(row, own)


def test_the_right_text_is_among_the_others_of_a_wrong_one(candidates: RetrievalSet) -> None:
    rows = [row for row in ACTIVE_SHARE if THOUGHTS.gold[row] in candidates.of(row, "1 + 1 = 2.")]
    assert rows  # the same operations elsewhere, and random ones, may draw it
    assert not any(THOUGHTS.gold[row] in candidates.of(row, THOUGHTS.gold[row]) for row in ACTIVE_SHARE)


def test_a_text_without_claims_takes_nothing_out(candidates: RetrievalSet) -> None:
    row = ACTIVE_SHARE[0]
    assert candidates.of(row, "") == candidates.of(row, "1 2 3 4 5") == candidates.of(row, "(no step)")


def test_other_steps_and_near_misses_come_first(candidates: RetrievalSet) -> None:
    full = 0
    for row in ACTIVE_SHARE:
        own, claims, (step,) = THOUGHTS.gold[row], THOUGHTS.claims[row], STEPS[row]
        others = candidates.of(row, own)
        rest = [claim for s, claim in enumerate(claims) if s != step]
        rest_texts = [f"{claim}." for claim in dict.fromkeys(rest) if claim != claims[step]]
        assert others[: len(rest_texts)] == rest_texts
        kinds = [
            {*rest_texts, *(f"{near}." for claim in rest for near in near_claims(claim, knows))},
            {f"{near}." for near in near_claims(claims[step], knows)},
            {text for text in GOLD if operators_of(text) == operators_of(own)},
        ]
        start = 0
        for kind in kinds:
            left = kind - set(others[:start]) - {own}
            n = min(EACH, len(left))
            assert set(others[start : start + n]) <= left
            start += n
        assert set(others[start:]) <= GOLD
        full += start == 3 * EACH
    assert full > 0.4 * len(ACTIVE_SHARE)


def test_near_misses_have_one_other_operand_and_hold(candidates: RetrievalSet) -> None:
    row = next(
        row
        for row in ACTIVE_SHARE
        if len(THOUGHTS.claims[row]) == 1 and len(near_claims(THOUGHTS.claims[row][0], knows)) >= EACH
    )
    own = parse_equations(THOUGHTS.gold[row])[0]
    near = [e for text in candidates.of(row, THOUGHTS.gold[row])[:EACH] for e in parse_equations(text)]
    assert len(near) == EACH
    for one in near:
        assert one.holds and one.operators == own.operators
        assert sum(a != b for a, b in zip(one.operands, own.operands, strict=True)) == 1


def test_the_draw_is_seeded_and_the_same_in_any_order(candidates: RetrievalSet) -> None:
    first, last = ACTIVE_SHARE[0], ACTIVE_SHARE[-1]
    forth = [candidates.of(row, THOUGHTS.gold[row]) for row in (first, last)]
    fresh = RetrievalSet(THOUGHTS, STEPS, knows)
    back = [fresh.of(row, THOUGHTS.gold[row]) for row in (last, first)]
    assert forth == back[::-1]
    assert RetrievalSet(THOUGHTS, STEPS, knows, seed=1).of(first, THOUGHTS.gold[first]) != forth[0]


def test_too_few_texts_are_an_error_that_says_what_to_raise() -> None:
    few = RetrievalSet(*make_thoughts(10), knows)
    with pytest.raises(ValueError, match="too few to draw from; raise --problems"):
        few.of(0, "1 + 1 = 2.")


def test_where_a_thought_holds_a_result_alone_so_do_the_other_texts() -> None:
    n = len(THOUGHTS)
    claims = [[f"{a} * 2 = {2 * a}", f"{2 * a} + 7 = {2 * a + 7}"] for a in range(100, 100 + n)]
    thoughts = replace(THOUGHTS, claims=claims, gold=[f"= {2 * a}." for a in range(100, 100 + n)])
    others = RetrievalSet(thoughts, [[0]] * n, lambda text: True).of(20, "= 240.")
    assert len(others) == len(set(others)) == AMONG - 1 and "= 240." not in others
    assert all(text.startswith("= ") for text in others)
    assert {"= 239.", "= 241."} <= set(others)  # near misses
    assert {"= 247.", "= 246."} <= set(others)  # the other step's result, and a near miss of that
