from __future__ import annotations

import doctest

import torch

from reverse_codi.reading import codes as module
from reverse_codi.reading.codes import COMMON, codes, number_code


def distance(one: str, other: str) -> float:
    return float((number_code(one) - number_code(other)).norm())


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0


def test_numbers_that_share_digits_or_size_are_nearer() -> None:
    assert distance("1600", "1601") < distance("1600", "2711") < distance("1600", "7")
    assert distance("17", "-17") > 0 and distance("0.5", "0.25") > 0 and distance("50%", "50") == 0


def test_each_label_that_is_no_number_is_one_for_itself() -> None:
    often = {"+": 9, "*": 1, "17": COMMON, "18": 1}
    found = codes(often)
    plain = len(number_code("0"))
    assert found.shape == (4, plain + 3)  # two operators, and the number that is common
    torch.testing.assert_close(found[0, plain:], torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(found[1, plain:], torch.tensor([0, 1.0, 0]))
    torch.testing.assert_close(found[2, plain:], torch.tensor([0, 0, 1.0]))
    assert not found[3, plain:].any() and not found[0, :plain].any()
    torch.testing.assert_close(found[3, :plain], number_code("18"))


def test_words_with_a_digit_are_no_numbers() -> None:
    found = codes({"3 eggs": 1, "3": 1})
    assert not torch.equal(found[0], found[1])
