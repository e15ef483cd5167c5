from __future__ import annotations

import doctest

import pytest

import reverse_codi.tasks.answers
import reverse_codi.tasks.steps
from reverse_codi.tasks.answers import (
    Canonical,
    canonical_class,
    canonical_letter,
    canonical_sentence,
    canonical_truth,
    stated,
    written_number,
)
from reverse_codi.tasks.base import canonical_number
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
    ("value", "text"),
    [
        (7, "7"),
        (7.0, "7"),
        (0.1 + 0.2, "0.3"),
        (-1234567.5, "-1234567.5"),
        (1e20, "1" + "0" * 20),
        (2**70, str(2**70)),
    ],
)
def test_json_numbers_are_written_out(value: float, text: str) -> None:
    assert canonical_number(written_number(value)) == text


def test_sentences_and_their_claims() -> None:
    text = 'It is 2.5 m long. "Why?" she asks!\n\nEvery rompus is an  impus.'
    assert sentences(text) == ["It is 2.5 m long.", '"Why?" she asks!', "Every rompus is an  impus."]
    step = sentence_step("Every rompus is an  impus.")
    assert (step.claim, step.result) == ("Every rompus is an impus", "impus")
    assert sentence_step("Max is not opaque.").result == ""
