from __future__ import annotations

import doctest
import random

import pytest

from reverse_codi.evaluation import counterfactual
from reverse_codi.evaluation.counterfactual import Edit, edited_step, implied_by
from reverse_codi.tasks.arithmetic import Arithmetic, split_words
from reverse_codi.tasks.base import Split
from reverse_codi.tasks.equations import parse_equations

CHAIN = ["12 + 5 = 17", "17 * 2 = 34", "34 - 4 = 30"]


def known(text: str) -> bool:
    return True


def edits(claims: list[str], step: int) -> set[Edit]:
    found = {edited_step(claims, step, random.Random(seed), known) for seed in range(300)}
    return {edit for edit in found if edit is not None}


def test_doctests() -> None:
    assert doctest.testmod(counterfactual).failed == 0


@pytest.mark.parametrize(
    ("claims", "step", "result", "answer"),
    [
        (CHAIN, 0, "17", "30"),
        (CHAIN, 0, "19", "34"),  # 19 * 2 = 38, 38 - 4 = 34
        (CHAIN, 1, "30", "26"),
        (CHAIN, 2, "7", "7"),
        (["20 - 3 = 17", "17 % 5 = 2", "2 + 9 = 11"], 0, "18", "12"),  # 18 % 5 = 3
        (["20 - 2 = 18", "18 / 3 = 6"], 0, "19", None),  # 19 / 3 has no end
        (["20 - 2 = 18", "18 / 4 = 4.5"], 0, "19", "4.75"),
        (["12 + 5 = 17", "17 - 9 = 8"], 0, "4", "-5"),
        (["12 + 5 = 17", "17 + 17 = 34"], 0, "10", "27"),  # the first operand alone is the former result
        (["12 + 5 = 17", "17 * 2 - (17 - 3) = 20"], 0, "10", "6"),
        (["12 + 5 = 17", "(17 + 3) * 2 = 40"], 0, "10", "26"),
        (["12 + 5 = 17", "3 * 2 = 6"], 0, "19", None),  # no chain
        (["12 + 5 = 17", "17 * 2 = 34", "17 - 4 = 13"], 0, "19", None),
        (["12 + 5 = 17", "17 / (3 - 3) = 0"], 0, "19", None),
        (["12 + 5 = 17", "Tom is a wumpus"], 0, "19", None),
        (["Tom is a wumpus"], 0, "19", None),
    ],
)
def test_implied_by(claims: list[str], step: int, result: str, answer: str | None) -> None:
    assert implied_by(claims, step, result) == answer


def test_every_edit_of_a_step() -> None:
    found = edits(CHAIN, 0)
    assert Edit("12 + 7 = 19", "34", "12 + 5 = 19") in found
    # operands 2 to 14 but the original one
    assert {edit.claim for edit in found} == {f"12 + {b} = {12 + b}" for b in range(2, 15) if b != 5}
    assert all(int(edit.answer) == int(edit.claim.split()[-1]) * 2 - 4 for edit in found)


def test_values_stay_whole_and_not_negative() -> None:
    # 20 - b is divided by 4 later, so b is 4, 12 or 16; 8 is the original one
    assert edits(["20 - 8 = 12", "12 / 4 = 3"], 0) == {
        Edit("20 - 4 = 16", "4", "20 - 8 = 16"),
        Edit("20 - 12 = 8", "2", "20 - 8 = 8"),
        Edit("20 - 16 = 4", "1", "20 - 8 = 4"),
    }
    assert {edit.claim for edit in edits(["18 / 3 = 6"], 0)} == {"18 / 2 = 9", "18 / 6 = 3", "18 / 9 = 2"}
    assert {edit.answer for edit in edits(["5 - 3 = 2"], 0)} == {"3", "1", "0"}


def test_the_answer_changes() -> None:
    # 12 + b is taken modulo 5: operands 5 and 10 away give the same answer
    found = edits(["12 + 5 = 17", "17 % 5 = 2"], 0)
    assert {edit.claim.split()[2] for edit in found} == {str(b) for b in range(2, 15) if b not in (5, 10)}
    assert all(edit.answer != "2" for edit in found)


def test_only_the_last_operand_changes() -> None:
    assert {edit.claim for edit in edits(["2 * (13 - 3) = 20"], 0)} >= {"2 * (13 - 4) = 18"}
    assert all(edit.inconsistent.startswith("16 - 3 - 4 = ") for edit in edits(["16 - 3 - 4 = 9"], 0))


def test_far_operands_only_where_no_near_one_will_do() -> None:
    # 97 is prime; its only other divisor than 1 is itself
    assert edits(["97 / 1 = 97"], 0) == {Edit("97 / 97 = 1", "1", "97 / 1 = 1")}


@pytest.mark.parametrize(
    ("claims", "step"),
    [
        (["Tom is a wumpus"], 0),
        (["12 + 5 = 17", "3 * 2 = 6"], 0),
        (["5 * -3 = -15"], 0),
        (["3 - 3 = 0", "0 * 7 = 0"], 1),  # 0 whatever the operand
        (["7 / 7 = 1"], 0),
    ],
)
def test_no_edit(claims: list[str], step: int) -> None:
    assert edited_step(claims, step, random.Random(0), known) is None


def test_known_words_only_also_on_the_way() -> None:
    # 12 + b, twice as much must stay below 41: b is 8 at most
    def small(text: str) -> bool:
        return all(int(number) <= 40 for number in split_words(text) if number.isdecimal())

    found = {edited_step(CHAIN[:2], 0, random.Random(seed), small) for seed in range(200)}
    assert {edit.claim.split()[2] for edit in found if edit} == {"2", "3", "4", "6", "7", "8"}
    assert edited_step(CHAIN, 0, random.Random(0), lambda text: False) is None


def test_the_same_seed_gives_the_same_edit() -> None:
    assert edited_step(CHAIN, 1, random.Random(3), known) == edited_step(CHAIN, 1, random.Random(3), known)


def test_most_steps_of_the_generated_task_can_be_edited() -> None:
    vocabulary = set(Arithmetic().vocabulary())
    rng = random.Random(0)
    steps = [(p.claims, i) for p in Arithmetic().problems(Split.TRAIN, 100, 0) for i in range(len(p.claims))]
    found = [edited_step(c, i, rng, lambda text: vocabulary.issuperset(split_words(text))) for c, i in steps]
    assert sum(edit is not None for edit in found) > 0.7 * len(steps)
    for (claims, i), edit in zip(steps, found, strict=True):
        if edit is not None:
            (equation,), (wrong,) = parse_equations(edit.claim), parse_equations(edit.inconsistent)
            assert equation.holds and not wrong.holds
            assert equation.result == wrong.result
            assert edit.answer == implied_by(claims, i, equation.result) != claims[-1].split()[-1]
