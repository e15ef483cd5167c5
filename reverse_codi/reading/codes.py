"""Labels as vectors, so that a probe learns from all numbers what one number looks like.

GSM8K's 7,473 problems have 570 distinct first results, most of them seen once or twice. A classifier that
learns each label for itself has little to learn those from. A number's code holds its digits and its size,
which numbers share; any other label (an operator, a class) is one for itself.

Shapes: C the length of a code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from reverse_codi.tasks.numbers import canonical_number

# Number of occurrences from which a number is learnt for itself too.
COMMON = 5
# Digits before and after the point that a code holds.
WHOLE, DECIMALS = 7, 2
# Bumps along log(1 + size) at each of these widths, from the widest to the narrowest.
WIDTHS, BUMPS, LARGEST = (2.0, 1.0, 0.5, 0.25), 24, 16.0


def codes(often: Mapping[str, int]) -> Tensor:
    """The codes [N, C] of N distinct labels, given with how often each occurs; C is the same for all.

    A number that occurs `COMMON` times has an entry for itself too.
    """
    numbers = [canonical_number(label) == label for label in often]
    alone = [not number or count >= COMMON for number, count in zip(numbers, often.values(), strict=True)]
    of_numbers = [
        number_code(label) if number else torch.zeros_like(number_code("0"))
        for label, number in zip(often, numbers, strict=True)
    ]
    return torch.cat([torch.stack(of_numbers), torch.eye(len(often))[:, alone]], 1)


def number_code(label: str) -> Tensor:
    """The code of a number: its sign, each of its digits, and its size.

    >>> one, other = number_code("17"), number_code("1.7")
    >>> bool((one != other).any()), one.shape == other.shape
    (True, True)
    """
    value = float(label.rstrip("%"))
    whole, _, part = f"{abs(value):.{DECIMALS}f}".partition(".")
    places = whole.rjust(WHOLE)[-WHOLE:] + part
    digits = torch.zeros(len(places), 11)  # the last stands for no digit
    for place, digit in enumerate(places):
        digits[place, 10 if digit == " " else int(digit)] = 1.0
    size = math.log1p(abs(value))
    centres = torch.linspace(0, LARGEST, BUMPS)
    bumps = [torch.exp(-(((size - centres) / width) ** 2)) for width in WIDTHS]
    return torch.cat([torch.tensor([float(value < 0)]), digits.flatten(), *bumps])
