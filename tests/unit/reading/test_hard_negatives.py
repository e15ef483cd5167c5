from __future__ import annotations

from itertools import combinations

import pytest

from reverse_codi.reading.claims import claims_text
from reverse_codi.reading.hard_negatives import CONSTANT, CONSTANT_SENTENCE, HARD_NEGATIVES, hard_negatives
from reverse_codi.tasks.equations import parse_equations
from tests.tiny import make_problems, make_tiny_reasoner

QUESTION, CLAIMS = "Ann has 12 apples. ...", ["12 + 5 = 17", "17 * 2 = 34", "34 - 30 = 4"]


def test_each_hard_negative_is_of_its_kind() -> None:
    made = hard_negatives(QUESTION, CLAIMS, [0, 1])
    assert set(made) == set(HARD_NEGATIVES)
    assert made["cut"] == "12 + 5 = 17. 17 * 2 ="
    same = parse_equations(made["same_result"])
    assert [e.result for e in same] == ["17", "34"]
    assert all(e.holds for e in same)
    assert not {e.claim for e in same} & set(CLAIMS)
    right, wrong = parse_equations(made["wrong_result"])
    assert (right.claim, wrong.left, wrong.holds) == ("12 + 5 = 17", "17 * 2", False)
    assert made["result_only"] == "34."
    assert made["final_answer"] == "The answer is: 4"
    assert (made["question"], made["empty"], made["constant"]) == (QUESTION, "", CONSTANT)
    assert made["other_step"] == "34 - 30 = 4."
    assert sorted(made["shuffled"].split()) == sorted("12 + 5 = 17 . 17 * 2 = 34 .".split())


def test_hard_negatives_are_the_same_every_time() -> None:
    assert hard_negatives(QUESTION, CLAIMS, [1]) == hard_negatives(QUESTION, CLAIMS, [1])


def test_no_hard_negative_is_ever_gold_and_none_has_an_unknown_word() -> None:
    reasoner = make_tiny_reasoner()
    unknown = reasoner.tokenizer.unk_token_id
    for problem in make_problems(300):
        steps = range(len(problem.claims))
        for encoded in (h for size in steps for h in combinations(steps, size + 1)):
            gold = claims_text(problem.claims[step] for step in encoded)
            for name, text in hard_negatives(problem.question, problem.claims, encoded).items():
                assert text != gold or name == "constant", (name, gold)
                assert unknown not in reasoner.ids(text), (name, text)


@pytest.mark.parametrize(
    "claim", ["15 % 7 = 1", "5 - 5 = 0", "12 * 0.05 = 0.6", "3 - 5 = -2", "12 + 5 = 10 + 7", "8 / 2 = 4"]
)
def test_small_decimal_and_negative_results(claim: str) -> None:
    gold = f"{claim}."
    made = hard_negatives(QUESTION, [claim], [0])
    assert gold not in made.values()
    [same] = parse_equations(made["same_result"])
    assert same.holds
    assert made["other_step"] != gold


FACTS = "Tom is a wumpus. Every wumpus is a tumpus. Amy is a lempus. Is Tom a tumpus or lempus?"
RULES = ["Tom is a wumpus", "Every wumpus is a tumpus"]


def test_hard_negatives_of_sentences_are_made_of_the_questions_classes() -> None:
    made = hard_negatives(FACTS, RULES, [1])
    assert set(made) == set(HARD_NEGATIVES)
    assert made["cut"] == "Every wumpus is a"
    assert made["same_result"] == "Every lempus is a tumpus."
    assert made["wrong_result"] == "Every wumpus is a lempus."
    assert made["result_only"] == "tumpus."
    assert made["final_answer"] == "The answer is: tumpus"
    assert made["other_step"] == "Tom is a wumpus."
    assert made["constant"] == CONSTANT_SENTENCE


def test_hard_negatives_of_sentences_find_names_where_the_question_has_none() -> None:
    made = hard_negatives("Who is it?", ["Tom is a wumpus"], [0])
    assert "Tom is a wumpus." not in made.values()
    assert made["wrong_result"] in ("Tom is a tumpus.", "Tom is a lempus.")
    assert made["same_result"] in ("Amy is a wumpus.", "Max is a wumpus.")
