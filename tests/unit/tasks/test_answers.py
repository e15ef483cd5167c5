from __future__ import annotations

import doctest

import pytest

import reverse_codi.tasks.answers
import reverse_codi.tasks.steps
from reverse_codi.tasks.answers import (
    Canonical,
    canonical_class,
    canonical_letter,
    canonical_plain,
    canonical_sentence,
    canonical_truth,
    stated,
    stated_text,
)
from reverse_codi.tasks.numbers import canonical_number
from reverse_codi.tasks.steps import sentence_step, sentences


def test_examples() -> None:
    assert doctest.testmod(reverse_codi.tasks.answers).failed == 0
    assert doctest.testmod(reverse_codi.tasks.steps).failed == 0


@pytest.mark.parametrize(
    ("text", "canonical", "answer"),
    [
        ("The answer is: 1,234,567 eggs", canonical_number, "1234567"),
        ("so $.50\nThe answer is: $.50", canonical_number, "0.5"),
        ("The answer is: -3.20", canonical_number, "-3.2"),
        ("The answer is: 7. The answer is: 8.", canonical_number, "8"),
        ("<<1+1=2>>\n### 2", canonical_number, "2"),
        ("The answer is: unknown\n#### 2", canonical_number, "2"),
        ("1 + 1 = 2", canonical_number, None),
        ("## 2", canonical_number, None),
        ("The answer is: Tom is a lempus.", canonical_sentence, "Tom is a lempus"),
        ("Tom is a terpus.\n### Tom is an impus.", canonical_sentence, "Tom is a impus"),
        ("The answer is: lempus", canonical_sentence, None),
        ("Tom is a lempus.", canonical_sentence, None),
        ("The answer is: lempus .", canonical_class, "lempus"),
        ("The answer is: a lempus", canonical_class, "lempus"),
        ("The answer is: Tom is a lempus", canonical_class, "lempus"),
        ("The answer is:", canonical_class, None),
        ("The answer is: True", canonical_truth, "True"),
        ("The answer is: no, it is not", canonical_truth, "False"),
        ("The answer is: false", canonical_truth, "False"),
        ("The answer is: nothing", canonical_truth, None),
        ("The answer is: D", canonical_letter, "D"),
        ("The answer is: (E) shop", canonical_letter, "E"),
        ("The answer is: C: bank", canonical_letter, "C"),
        ("The answer is: Bank", canonical_letter, None),
        ("The answer is: A bank", canonical_letter, None),
        ("The answer is: F", canonical_letter, None),
    ],
)
def test_stated(text: str, canonical: Canonical, answer: str | None) -> None:
    assert stated(text, canonical) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is : 17 .", "17"),
        ("the Answer is 17", "17"),
        ("The answer is:\n 17\n18", "17"),
        ("The answer is: 3. No, the answer is: 4.", "4"),
        ("The answer is: unknown\n12 + 5 = 17", None),
        ("The answer is:", None),
        ("12 + 5 = 17", None),
        ("", None),
    ],
)
def test_the_usual_cue(text: str, answer: str | None) -> None:
    assert stated(text, canonical_number) == answer


@pytest.mark.parametrize(
    ("text", "canonical", "answer"),
    [
        ("18", canonical_number, "18"),
        (" $1,080.", canonical_number, "1080"),
        ("18\n", canonical_number, "18"),
        ("<<16-3-4=9>> <<9*2=18>>\n18", canonical_number, "18"),
        ("<<16-3-4=9>> <<9*2=18>>\n", canonical_number, None),  # cut off before its answer
        ("16 - 3 - 4 = 9", canonical_number, None),
        ("The answer is: 18", canonical_number, "18"),  # a cue all the same
        ("9 eggs\n#### 18", canonical_number, "18"),
        ("True", canonical_truth, "True"),
        ("D", canonical_letter, "D"),
        ("Tom is a lempus.", canonical_sentence, "Tom is a lempus"),
        ("lempus", canonical_class, "lempus"),
        ("", canonical_number, None),
        ("I do not know", canonical_number, None),
    ],
)
def test_an_answer_that_stands_alone(text: str, canonical: Canonical, answer: str | None) -> None:
    assert stated(text, canonical, cue="") == answer


def test_a_cue_of_its_own_comes_before_the_usual_ones() -> None:
    text = "The answer is: 3\nSo it comes to : 4\n### 5"
    assert stated(text, canonical_number, cue="It comes to:") == "4"
    assert stated(text, canonical_number, cue="###") == stated(text, canonical_number, cue="### ") == "5"
    assert stated(text, canonical_number) == "3"
    assert stated(text, canonical_number, cue="Result =") == "3"


def test_stated_text_keeps_words() -> None:
    assert stated_text("So. The answer is: Tom is a lempus.\nDone") == "Tom is a lempus."
    assert stated_text("1 + 1 = 2\nTom is a lempus.", cue="") == "Tom is a lempus."
    assert stated_text("Tom is a lempus.") is None


def test_an_answer_of_any_kind() -> None:
    plain = ["1e16", "64.39999999999999", "-$1,080.0", "Tom  is a lempus.", "7 eggs"]
    assert [canonical_plain(text) for text in plain] == [
        "10000000000000000",
        "64.4",
        "-1080",
        "Tom is a lempus",
        "7 eggs",
    ]


def test_sentences_and_their_claims() -> None:
    text = 'It is 2.5 m long. "Why?" she asks!\n\nEvery rompus is an  impus.'
    assert sentences(text) == ["It is 2.5 m long.", '"Why?" she asks!', "Every rompus is an  impus."]
    step = sentence_step("Every rompus is an  impus.")
    assert (step.claim, step.result) == ("Every rompus is an impus", "impus")
    assert sentence_step("Max is not opaque.").result == ""
