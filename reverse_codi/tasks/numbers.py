"""One spelling for each number, whatever its notation: in gold answers, stated answers and claims alike.

Two numbers are equal if their spellings are equal. A binary float carries noise from about its 16th digit on
(64.39999999999999 was meant as 64.4), and sums of floats carry more. Numbers are therefore rounded to 12
significant digits; whole numbers of up to 15 digits keep every digit.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Context, Decimal, localcontext

_DIGITS, _WHOLE_DIGITS = 12, 15
_ROUNDING = {digits: Context(prec=digits) for digits in range(_DIGITS, _WHOLE_DIGITS + 1)}
# A longer spelling than this many digits is written with an exponent.
_LONGEST = 40
_MINUS = "-−–"
_CURRENCY = "$€£¥₹"
# Without separators, and with the minus sign that `Decimal` knows.
_PLAIN = str.maketrans(dict.fromkeys(_MINUS, "-") | dict.fromkeys(",\u00a0\u202f\u2009", ""))

DECIMAL = (
    r"(?:(?:[1-9]\d{0,2}(?:[,\u00a0\u202f\u2009]\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<![\d.])\.\d+)"
    rf"(?:[eE][{_MINUS}+]?\d{{1,3}}(?!\w))?"
)
"""A decimal number without sign, as a regular expression: 1,080.50, .5, 1e-05."""

# A hyphen after a word or a digit ("10-3", "page-5") is no sign; one with a space after it only where the
# text begins. Of a date ("10/12/2020") and a division by zero the first number counts.
_NUMBER = re.compile(
    rf"""
    (?P<minus>(?:(?<![\w.)%])[{_MINUS}]|\A\s*[{_MINUS}]\s)[{_CURRENCY}]?)?
    (?:
        (?:(?P<factor>{DECIMAL})\s?[x×*·]\s?)?10(?:\^|\*\*)\{{?(?P<power>[{_MINUS}+]?\d{{1,3}})(?!\d)\}}?
      | (?:(?P<units>\d+)[ \u00a0])?(?<![\d.,/])(?P<top>\d+)/(?P<bottom>0*[1-9]\d*)(?![\d/]|[.,]\d)
      | (?P<more>\d+)?\ ?(?P<vulgar>[¼-¾⅐-⅞])
      | (?P<decimal>{DECIMAL})
    )
    """,
    re.VERBOSE,
)
_AROUND = re.compile(rf"[\s%+.{_CURRENCY}]*")


def number_in(text: str) -> Decimal | None:
    """The first number of a text, not rounded, or None; a third has 40 digits.

    Currency and percent signs are dropped: 50% is 50, as the graders of GSM8K read it.

    >>> number_in("$1,234.50 in all"), number_in("2 1/2 hours"), number_in("none")
    (Decimal('1234.50'), Decimal('2.5'), None)
    """
    match = _NUMBER.search(text)
    if match is None:
        return None
    if match["decimal"]:
        value = _decimal(match["decimal"])
    else:
        with localcontext(Context(prec=_LONGEST)):
            value = _value(match)
    return value.copy_negate() if match["minus"] else value


def _value(match: re.Match[str]) -> Decimal:
    if match["power"]:
        return _decimal(match["factor"] or "1").scaleb(int(match["power"].translate(_PLAIN)))
    if match["vulgar"]:
        # A float cannot hold a third, which the sign's name in digits can.
        part = map(Decimal, re.findall(r"\d+", unicodedata.normalize("NFKD", match["vulgar"])))
        return Decimal(match["more"] or 0) + next(part) / next(part)
    top, bottom = Decimal(match["top"]), Decimal(match["bottom"])
    if match["units"] is None:
        return top / bottom
    # "2019 12/7" is no mixed number.
    return Decimal(match["units"]) + (top / bottom if top < bottom else 0)


def _decimal(text: str) -> Decimal:
    return Decimal(text.translate(_PLAIN))


def spelled(value: Decimal | float) -> str:
    """The one spelling of a finite number.

    >>> spelled(64.39999999999999), spelled(1e16), spelled(Decimal("-0.50")), spelled(123456789012345)
    ('64.4', '10000000000000000', '-0.5', '123456789012345')
    """
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    # Rounded twice: half of the last digit is otherwise rounded up or down by the noise behind it.
    value = _ROUNDING[_WHOLE_DIGITS].plus(exact)
    rounded = _ROUNDING.get(value.adjusted() + 1, _ROUNDING[_DIGITS]).plus(value).normalize()
    if not rounded:
        return "0"
    return format(rounded, "f" if -_LONGEST < rounded.adjusted() < _LONGEST else "e")


def canonical_number(text: str) -> str | None:
    """The spelling of the first number of a text, or None.

    >>> canonical_number("$1,234.50 in all"), canonical_number("-.50"), canonical_number("1e-05")
    ('1234.5', '-0.5', '0.00001')
    >>> canonical_number("none") is None
    True
    """
    value = number_in(text)
    return None if value is None else spelled(value)


def whole_number(text: str) -> str | None:
    """The spelling of a text that is only a number, with its currency or percent sign; else None.

    >>> whole_number("$7.50"), whole_number("1e16"), whole_number("7 eggs")
    ('7.5', '10000000000000000', None)
    """
    match = _NUMBER.search(text)
    if match is None or not _AROUND.fullmatch(text[: match.start()] + text[match.end() :]):
        return None
    return canonical_number(text)
