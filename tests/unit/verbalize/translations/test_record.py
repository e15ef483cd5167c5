from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from reverse_codi.verbalize.translations.record import (
    NO_HIDDEN_STATE,
    NO_QUESTION,
    TRUST_THRESHOLD,
    Translation,
)

ROW = Translation("How many?", "h0", "12 + 5 = 17.", 0.9, 1.0, ["17"], "The answer is: 17")


def test_a_row_is_trusted_and_says_why() -> None:
    assert ROW.trusted is True and ROW.reason == "100% of wrong thoughts fit less"
    assert replace(ROW, trust=TRUST_THRESHOLD).trusted is True
    assert replace(ROW, translation="( no step )").trusted is True


@pytest.mark.parametrize("text", ["28 no)))", "(no no)", "step no step)", "", "So there are some."])
def test_a_text_without_a_claim_is_not_trusted_however_near_it_is(text: str) -> None:
    row = replace(ROW, translation=text)
    assert row.trusted is False and row.reason == "no claim can be read in it"


@pytest.mark.parametrize("match", [0.0, -2.09, float("nan")])
def test_a_text_that_is_no_nearer_than_silence_is_not_trusted(match: float) -> None:
    row = replace(ROW, match=match)
    assert row.trusted is False and row.reason == "the training mean is nearer to the thought"


@pytest.mark.parametrize("trust", [0.89, 0.0, float("nan")])
def test_a_text_that_fits_other_thoughts_is_not_trusted(trust: float) -> None:
    row = replace(ROW, trust=trust)
    assert row.trusted is False and "of wrong thoughts fit as well" in row.reason


def test_a_text_that_many_thoughts_share_is_not_trusted_even_without_a_match() -> None:
    for row in (replace(ROW, shared=0.25), replace(ROW, shared=0.25, match=None, trust=None, lens=None)):
        assert row.trusted is False and row.reason == "25% of other thoughts get the same text"
    assert replace(ROW, shared=0.02).trusted is True


def test_what_cannot_be_scored_is_neither_trusted_nor_distrusted() -> None:
    row = replace(ROW, match=None, trust=None)
    assert row.trusted is None and row.reason == NO_QUESTION
    assert replace(row, lens=None).reason == NO_HIDDEN_STATE


def test_the_verdict_is_among_the_saved_values() -> None:
    saved = asdict(replace(ROW, match=-1.0))
    assert (saved["trusted"], saved["reason"]) == (False, "the training mean is nearer to the thought")
