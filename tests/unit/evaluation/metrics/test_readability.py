from __future__ import annotations

import doctest

import pytest

from reverse_codi.evaluation.metrics import readability
from reverse_codi.evaluation.metrics.readability import distinct_n, lengths, top_share


def distinct(texts: list[str], n: int) -> float:
    return float(distinct_n(texts, n)[:, 0].sum() / distinct_n(texts, n)[:, 1].sum())


def test_doctests() -> None:
    assert doctest.testmod(readability).failed == 0


def test_distinct_n() -> None:
    texts = ["12 + 5 = 17", "12 + 6 = 18"]
    assert distinct(texts, 1) == pytest.approx(7 / 10)  # 12 + = are in both
    assert distinct(texts, 2) == pytest.approx(7 / 8)  # "12 +" is in both
    assert distinct_n(texts, 2).tolist() == [[3.5, 4], [3.5, 4]]


def test_a_constant_text_is_not_distinct() -> None:
    assert distinct(["12 + 5 = 17"] * 20, 2) == pytest.approx(1 / 20)
    assert distinct(["no no no no"], 1) == 1 / 4


def test_short_and_empty_texts_have_no_ngrams() -> None:
    assert distinct_n(["", "17", "a b"], 2).tolist() == [[0, 0], [0, 0], [1, 1]]
    assert distinct_n([""], 1).tolist() == [[0, 0]]


def test_lengths() -> None:
    assert lengths(["", "17", " 12  + 5 = 17."]).tolist() == [0, 1, 5]


def test_top_share() -> None:
    assert top_share(["a", "b", "a", "c"]).tolist() == [1, 0, 1, 0]
    assert top_share(["(no step)"] * 3).mean() == 1
    assert top_share(["a", "b", "c"]).mean() == pytest.approx(1 / 3)
