"""Where numbers stand in a text, and other numbers in the same spelling: 1,600 and 1,603, .50 and .53."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from reverse_codi.tasks.numbers import DECIMAL

_NUMBER = re.compile(
    rf"(?P<sign>(?<![\w.)%])[-−–](?=[$€£¥₹]?\.?\d))?(?P<currency>[$€£¥₹])?(?P<digits>{DECIMAL})"
)
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")
_SEPARATORS = re.compile("[,\u00a0\u202f\u2009]")
# After these a hyphen is an operator.
_ENDS_OPERAND = re.compile(r"[\d)%]\s*\Z")


@dataclass(frozen=True)
class Spelled:
    """One number as a text writes it; percent sign and units are not part of it.

    Attributes:
        start: its first character, the minus sign or currency sign if it has one.
        digits: the first character behind those.
        end: the character after its last digit.
        text: the digits, with separators and decimals, "1,600.50".
        negative: whether it has a minus sign.
    """

    start: int
    digits: int
    end: int
    text: str
    negative: bool

    @property
    def begin(self) -> int:
        """The first character of the number itself: its minus sign, else its first digit."""
        return self.start if self.negative else self.digits

    @property
    def value(self) -> Decimal:
        """Its exact value."""
        size = Decimal(_SEPARATORS.sub("", self.text))
        return size.copy_negate() if self.negative else size

    @property
    def unit(self) -> Decimal:
        """One of its last digit: 0.01 of 17.50."""
        return Decimal(1).scaleb(int(self.value.as_tuple().exponent))

    def respelled(self, value: Decimal) -> str:
        """The digits of another size of the same sign, in this spelling.

        >>> [number.respelled(Decimal("1234.5")) for number in numbers_in("1,600 or 17")]
        ['1,234.5', '1234.5']
        """
        separator = _SEPARATORS.search(self.text)
        plain = format(abs(value), ",f" if separator else "f")
        if self.text.startswith("."):
            plain = plain.removeprefix("0") if plain.startswith("0.") else plain
        return plain.replace(",", separator[0]) if separator else plain


def numbers_in(text: str) -> Iterator[Spelled]:
    """The numbers of a text, in order; "5th" is none, and a hyphen after an operand is no sign.

    >>> [(number.start, number.text, str(number.value)) for number in numbers_in("12 -5 = -$1,600.5, 2nd")]
    [(0, '12', '12'), (4, '5', '5'), (8, '1,600.5', '-1600.5')]
    """
    for match in _NUMBER.finditer(text):
        if not _ORDINAL.match(text, match.end()):
            negative = bool(match["sign"]) and not _ENDS_OPERAND.search(text, 0, match.start())
            start = match.start() + (bool(match["sign"]) and not negative)
            yield Spelled(start, match.start("digits"), match.end(), match["digits"], negative)
