from __future__ import annotations

import pytest

from reverse_codi.tasks.base import Split, canonical_number, split_by_hash, stated_answer, stated_text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("17", "17"),
        ("1,080", "1080"),
        ("109,200,000", "109200000"),
        ("$1,234.50 in all", "1234.5"),
        ("1,0800", "1"),
        ("12.", "12"),
        ("12.00", "12"),
        ("100", "100"),
        (".5", "0.5"),
        ("-.50", "-0.5"),
        ("007", "7"),
        ("0.0", "0"),
        ("-0", "0"),
        ("-5", "-5"),
        ("−5", "-5"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("(-5)", "-5"),
        ("10-3", "10"),
        ("page-5", "5"),
        ("a total of 3, or 4", "3"),
        ("", None),
        ("none", None),
        (". , -", None),
    ],
)
def test_canonical_number(text: str, number: str | None) -> None:
    assert canonical_number(text) == number


def test_canonical_number_is_idempotent() -> None:
    for text in ("1,234.50", "-.5", "000.10", "12"):
        once = canonical_number(text)
        assert once is not None and canonical_number(once) == once


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is: 17", "17"),
        ("The answer is : 17 .", "17"),
        ("the Answer is 17", "17"),
        ("The answer is: $1,080.", "1080"),
        ("The answer is:\n 17\n18", "17"),
        ("The answer is: 3. No, the answer is: 4.", "4"),
        ("The answer is: unknown\n12 + 5 = 17", None),
        ("The answer is:", None),
        ("12 + 5 = 17", None),
        ("", None),
    ],
)
def test_stated_answer(text: str, answer: str | None) -> None:
    assert stated_answer(text) == answer


def test_stated_text_keeps_words() -> None:
    assert stated_text("So. The answer is: Tom is a lempus.\nDone") == "Tom is a lempus."


def test_split_by_hash_follows_the_percentage() -> None:
    sides = [split_by_hash(str(i), 20) for i in range(4_000)]
    assert 0.17 < sides.count(Split.HELDOUT) / len(sides) < 0.23
    assert {split_by_hash(str(i), 0) for i in range(50)} == {Split.TRAIN}
