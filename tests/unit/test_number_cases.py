"""Every kind of number through claims, probes, reading, lens, edits, hard negatives and retrieval."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import pytest
import torch

from reverse_codi.evaluation.counterfactual import edited_step, near_claims
from reverse_codi.evaluation.defaults import AMONG
from reverse_codi.evaluation.metrics.content import Part, f1
from reverse_codi.evaluation.retrieval_set import RetrievalSet
from reverse_codi.reading.claims import claimed, claims_text
from reverse_codi.reading.edits import number_changed, result_swapped
from reverse_codi.reading.hard_negatives import hard_negatives
from reverse_codi.reading.lens_names import LensNames, named_by
from reverse_codi.reading.probes import parts_of
from reverse_codi.reading.reader import Reader, before_last_number, numbers_at
from reverse_codi.reading.wording import worded
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import Point, ReadSpec
from reverse_codi.tasks.answers import canonical_plain, stated_text
from reverse_codi.tasks.claims import claims_of, parse_claims, result_of
from reverse_codi.tasks.equations import Equation, parse_equations
from reverse_codi.tasks.numbers import canonical_number
from reverse_codi.verbalize.lens_search import lens_search
from reverse_codi.verbalize.thoughts import Thoughts
from tests.number_cases import BARE, CASES, TOKENIZERS, NumberCase, make_reasoner

KINDS = sorted(TOKENIZERS)
of_case = pytest.mark.parametrize("case", CASES, ids=[case.kind for case in CASES])
of_whole = pytest.mark.parametrize(
    "case",
    whole := [case for case in CASES if not case.claim.startswith("=")],
    ids=[case.kind for case in whole],
)
QUESTION = "Ann has 800 pens. Ben has twice as many. How many does he have?"


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokenizers_split_as_the_public_ones_do(kind: str) -> None:
    reasoner = make_reasoner(kind)

    def pieces(text: str) -> list[str]:
        return [reasoner.decode([token]) for token in reasoner.ids(text)]

    assert pieces(" 17") == ([" 17"] if kind == "gpt2" else [" ", "17"])
    assert pieces("1,600") == ["1", ",", "600"]
    assert pieces("1600") == ["160", "0"]
    assert pieces(" 1600") == ([" 1600"] if kind == "gpt2" else [" ", "160", "0"])
    assert len(pieces("1,250,000")) >= 5


@of_case
def test_claims_have_one_spelling(case: NumberCase) -> None:
    assert claims_of(case.text) == [case.claim] == claims_of(case.claim)
    assert claimed(case.text) == claimed(f"{case.claim}.") == (case.claim,)
    (parsed,) = parse_claims(case.text)
    assert parsed.result == result_of(case.claim) == case.result == canonical_number(case.numbers[-1])
    assert not isinstance(parsed, Equation) or parsed.holds
    assert set(f1(case.text, [case.claim]).values()) == {1.0}
    assert f1(f"1 + {case.claim}", [case.claim])[Part.CLAIMS] == 0


@pytest.mark.parametrize("annotation", BARE)
def test_an_annotation_without_a_sum_is_a_result_alone(annotation: str) -> None:
    (equation,) = parse_equations(annotation)
    assert equation.claim == BARE[annotation]
    assert claimed(claims_text([equation.claim])) == (equation.claim,)
    assert parts_of(equation.claim) == ("", "", "", equation.result) == equation.slots


@of_case
def test_labels_of_probes_are_canonical_numbers(case: NumberCase) -> None:
    first, operators, last, result = parts_of(case.claim)
    assert parts_of(case.text) == (first, operators, last, result)
    assert result == case.result
    for number in filter(None, (first, last)):
        assert canonical_number(number) == number
    assert bool(first) == bool(operators) == bool(last) == (not case.claim.startswith("="))


@of_case
@pytest.mark.parametrize("kind", KINDS)
def test_the_tokens_of_numbers_are_read_and_no_others(kind: str, case: NumberCase) -> None:
    [offsets] = make_reasoner(kind).offsets([case.text])
    spans, start = [], 3 + case.text.find("5th")  # behind the ordinal, if any
    for number in case.numbers:
        start = case.text.index(number, start if "5th" in case.text else 0 if not spans else spans[-1][1])
        spans.append((start, start + len(number)))
        start += len(number)
    expected = [i for i, (a, b) in enumerate(offsets) if any(a < end and b > begin for begin, end in spans)]
    assert numbers_at(case.text, offsets) == expected
    read = "".join(case.text[a:b].strip() for a, b in (offsets[i] for i in expected))
    assert all(digits in read for digits in re.findall(r"\d+", "".join(case.numbers)))


@of_case
def test_a_text_is_cut_before_its_last_number(case: NumberCase) -> None:
    cut = before_last_number(case.text)
    assert case.text.startswith(cut)
    assert case.text[len(cut) :].strip().startswith(case.numbers[-1])
    assert not cut.endswith((",", ".", "-", "−"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("one", "other"), [("1,600", "1,700"), ("17.5", "17.25"), (".6", ".7"), ("-3", "-4")]
)
def test_what_is_read_before_the_result_does_not_see_it(kind: str, one: str, other: str) -> None:
    texts = [f"800 * 2 = {number}." for number in (one, other)]
    before, at = (
        Reader(make_reasoner(kind), ReadSpec(point=point)) for point in (Point.BEFORE_RESULT, Point.NUMBERS)
    )
    assert torch.equal(*before.features(texts))
    assert not torch.allclose(*at.features(texts), atol=1e-4)


@of_case
def test_an_edited_number_is_another_number_in_the_same_spelling(case: NumberCase) -> None:
    rng, edited = random.Random(0), set()
    for _ in range(60):
        text = number_changed(case.text, rng)
        (claim,) = claims_of(text)
        assert claim != case.claim
        edited.add(text)
    after = case.text[case.text.rindex(case.numbers[-1]) + len(case.numbers[-1]) :]
    assert len(edited) > 2 * len(case.numbers)
    assert all("5th" in text for text in edited) or "5th" not in case.text
    assert all(
        text.count("%") == case.text.count("%") and text.count("$") == case.text.count("$") for text in edited
    )
    assert all(text.endswith(after) for text in edited)


@pytest.mark.parametrize(
    ("number", "allowed"),
    [
        ("1,600", {"1,597", "1,598", "1,599", "1,601", "1,602", "1,603"}),
        ("1\u202f600", {f"1\u202f{n}" for n in (597, 598, 599, 601, 602, 603)}),
        ("17.50", {"17.47", "17.48", "17.49", "17.51", "17.52", "17.53"}),
        (".9", {".6", ".7", ".8", "1.0", "1.1", "1.2"}),
        ("5%", {f"{n}%" for n in (2, 3, 4, 6, 7, 8)}),
        ("-3", {"-1", "-2", "-4", "-5", "-6"}),
        ("-$3", {"-$1", "-$2", "-$4", "-$5", "-$6"}),
        ("999,999", {"999,996", "999,997", "999,998", "1,000,000", "1,000,001", "1,000,002"}),
        ("the 5th", {"the 5th"}),
    ],
)
def test_number_changed(number: str, allowed: set[str]) -> None:
    assert {number_changed(number, random.Random(seed)) for seed in range(200)} == allowed


@of_whole
def test_operand_and_result_change_places(case: NumberCase) -> None:
    (equation,) = parse_equations(result_swapped(case.text, random.Random(0)))
    assert equation.claim != case.claim
    assert {*equation.operands, equation.result} == {*parse_equations(case.text)[0].operands, case.result}


def test_equal_operand_and_result_cannot_change_places() -> None:
    assert result_swapped("30 - 15 = 15. 12 + 5 = 17.", random.Random(0)) == "30 - 15 = 15. 12 + 17 = 5."
    assert result_swapped("30 - 15 = 15.", random.Random(0)) == "30 - 15 = 15."


@of_case
def test_hard_negatives_are_other_claims_of_the_same_kind(case: NumberCase) -> None:
    made = hard_negatives(QUESTION, [case.claim], [0])
    for name in ("same_result", "wrong_result", "other_step"):
        (claim,) = claims_of(made[name])
        assert claim != case.claim
        assert (result_of(claim) == case.result) == (name != "wrong_result")
        assert name == "wrong_result" or parse_equations(claim)[0].holds
    assert claimed(made["cut"]) is None
    assert canonical_number(made["result_only"]) == case.result


def test_hard_negatives_of_long_numbers_take_no_time() -> None:
    made = hard_negatives(QUESTION, ["109200000 * 10 = 1092000000"], [0])
    assert parse_equations(made["same_result"])[0].holds


@of_whole
def test_near_misses_are_true_and_near(case: NumberCase) -> None:
    near = near_claims(case.claim, lambda text: True)
    if "-" in case.claim.partition("=")[2] or case.kind == "rounded":
        return  # steps whose operands cannot move without leaving the numbers that steps have
    assert len(near) >= 2
    for claim in near:
        (equation,) = parse_equations(claim)
        assert equation.holds and equation.claim == claim != case.claim


@pytest.mark.parametrize(
    ("claims", "decimals"),
    [
        (["800 * 2 = 1600", "1600 + 5 = 1605"], 0),
        (["35 * 0.5 = 17.5", "17.5 + 10 = 27.5"], 1),
        (["17.5 + 0.25 = 17.75"], 2),
    ],
)
def test_an_edited_step_has_no_more_decimals_than_its_chain(claims: list[str], decimals: int) -> None:
    edit = edited_step(claims, 0, random.Random(0), lambda text: True)
    assert edit is not None and edit.answer != result_of(claims[-1])
    (equation,) = parse_equations(edit.claim)
    assert equation.holds and equation.claim == edit.claim != claims[0]
    assert len(edit.answer.partition(".")[2]) <= decimals
    assert not parse_equations(edit.inconsistent)[0].holds


@of_case
def test_words_around_a_claim_leave_it_as_it_is(case: NumberCase) -> None:
    for seed in range(20):
        (text,) = worded([case.text], ["Ann has some pens . She gives him away"], 1.0, seed)
        assert claims_of(text) in ([case.claim], [])  # "12 + 5 is 17" is read, and no equation
        assert claims_of(text.replace(" is ", " = ")) == [case.claim]


def test_a_partial_claim_beside_a_sum_stays_a_sentence() -> None:
    (text,) = worded(["12 + 5 = 17. = 34."], ["Ann has some pens"], 1.0)
    assert claims_of(text.replace(" is ", " = ")) == ["12 + 5 = 17", "= 34"]


# ---- the lens sees one token


@pytest.mark.parametrize(
    ("result", "token", "kinds"),
    [
        ("17", " 17", KINDS),
        ("17", "17", KINDS),
        ("160", "160", KINDS),
        ("1600", "160", KINDS),
        ("134000", "134", ["llama3"]),
        ("17.5", "17", KINDS),
        ("17.5", " 17", ["gpt2"]),
        ("-3", "-", KINDS),
    ],
)
def test_a_number_is_named_by_itself_or_its_first_token(
    result: str, token: str, kinds: Sequence[str]
) -> None:
    for kind in kinds:
        names = LensNames(make_reasoner(kind))
        assert names.hit([token], result, 1)
        assert not names.hit([",", token], result, 1) and names.hit([",", token], result, 2)
        assert bool(names.leading(result)) == (token.strip() != result)


@pytest.mark.parametrize(
    ("result", "token"),
    [
        ("1600", "1"),  # the claim has no separators
        ("1600", "0"),
        ("1600", "600"),
        ("1600", ","),
        ("17", "1"),
        ("17", "170"),
        ("17", "<|reserved_special_token_17|>"),
        ("5", "5th"),
        ("3", "-"),
    ],
)
def test_another_token_names_no_number(result: str, token: str) -> None:
    for kind in KINDS:
        assert not LensNames(make_reasoner(kind)).hit([token], result, 1)


def test_a_token_by_itself_is_only_what_it_says() -> None:
    assert named_by(" 17", "17") and named_by("wumpus", "wumpus")
    assert not named_by("160", "1600") and not named_by("<|reserved_17|>", "17")
    assert "1" in LensNames(make_reasoner("gpt2")).leading_grouped("1600")


def thoughts_of_words(kind: str, words: Sequence[str]) -> Thoughts:
    """One thought whose hidden state scores these tokens, likeliest first; see `SpeakingReasoner`."""
    reasoner = make_reasoner(kind)
    scores = torch.zeros(1, reasoner.config.eot_id + 1)
    for rank, word in enumerate(words):
        (token,) = reasoner.ids(word)
        scores[0, token] = 10.0 - rank
    return Thoughts(scores[:, None], scores, [Site("h", 0)], [0], [QUESTION], ["?"], [["?"]], [None])


class SpeakingReasoner(type(make_reasoner("gpt2"))):  # type: ignore[misc]
    """Its hidden states are the scores of its tokens."""

    def logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_token_of_a_long_result_is_not_said_for_the_result(kind: str) -> None:
    base = make_reasoner(kind)
    reasoner = SpeakingReasoner(base.model, base.tokenizer, base.config)
    (found,) = lens_search(reasoner, thoughts_of_words(kind, ["160", "7", "9", "3", "4"]))
    assert found.text == found.as_said == "800 * 2 = 1600." and found.rank == 0
    if kind == "gpt2":  # whose second word is the whole result: the first one still says no other
        (found,) = lens_search(reasoner, thoughts_of_words(kind, ["160", " 1600", "9", "3", "4"]))
        assert found.text == found.as_said == "800 * 2 = 1600." and found.rank == 1


# ---- retrieval and answers


def test_another_spelling_of_the_own_text_is_no_other_text() -> None:
    claims = [f"{a} * 2 = {2 * a}" for a in range(700, 900)]
    n = len(claims)
    thoughts = Thoughts(
        slots=torch.zeros(n, 1, 1),
        targets=torch.zeros(n, 1),
        sites=[Site("h", 0)] * n,
        problems=list(range(n)),
        questions=[QUESTION] * n,
        gold=[claims_text([claim]) for claim in claims],
        claims=[[claim] for claim in claims],
        answers=[None] * n,
    )
    others = RetrievalSet(thoughts, [[0]] * n, lambda text: True).of(100, "800 * 2 = $1,600.00")
    assert len(others) == AMONG - 1
    assert all(claimed(other) != ("800 * 2 = 1600",) for other in others)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is: 1,600", "1600"),
        ("The answer is: $1,600.00", "1600"),
        ("The answer is: -3", "-3"),
        ("The answer is: -$3.50", "-3.5"),
        ("The answer is: 40%", "40"),
        ("The answer is: .5", "0.5"),
    ],
)
def test_answers_have_one_spelling(text: str, answer: str) -> None:
    stated = stated_text(text)
    assert stated is not None and canonical_plain(stated) == canonical_number(stated) == answer
