from __future__ import annotations

import pytest

from reverse_codi.errors import RecipeError
from reverse_codi.rewards.registry import find
from tests.fakes import called, make_reward_batch


def values(texts: list[str], **options: str) -> list[float | None]:
    return called(find("format", options), make_reward_batch(texts))


@pytest.mark.parametrize(
    "text",
    [
        "12 + 5 = 17",
        " 12 + 5 = 17 .",
        "12+5=17. 17 * 2 = 34.",
        "12 + 5 = 17 . 17 * 2 = 34 .",  # as word-level tokenizers decode
        "3 * (2 / 3) = 2.",
        "1,200 / 8 = 150. 0.5 * 150 = 75.",
        "4 - 9 = -5",
        "(no step)",
        "( no step )",
    ],
)
def test_claims_have_the_default_form(text: str) -> None:
    assert values([text]) == [1.0]


@pytest.mark.parametrize(
    "text",
    [
        "12 + 5",
        "= 17",
        "17",
        "17 = 17",
        "12 + 5 = 17 17 * 2 = 34",  # nothing between the claims
        "12 + 5 = 17. So",
        "The answer is: 17",
        "12 + + 5 = 17",
    ],
)
def test_other_texts_have_not(text: str) -> None:
    assert values([text]) == [0.0]


def test_an_own_pattern_must_match_the_whole_text() -> None:
    pattern = r"Every \w+ is an? \w+\."
    assert values(["Every rompus is a lempus.", "Every rompus is a lempus. So"], pattern=pattern) == [
        1.0,
        0.0,
    ]


def test_a_broken_pattern_is_reported_when_the_recipe_is_read() -> None:
    with pytest.raises(RecipeError, match=r"pattern = '\('.*no regular expression.*unterminated"):
        find("format", {"pattern": "("})
