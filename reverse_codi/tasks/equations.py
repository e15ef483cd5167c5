"""The one parser of equations, for gold steps, candidate texts and a model's written steps alike.

Two texts make the same claim exactly if their equations have the same canonical `claim`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from fractions import Fraction
from typing import NamedTuple

from reverse_codi.tasks.numbers import DECIMAL, number_in, spelled

ANNOTATION = re.compile(r"<<((?:(?!<<).)*?)>>")
"""GSM8K's calculator annotation, `<<48/2=24>>`. It ends before another begins, or a line of "<" would take
quadratic time."""

# Longer sides are degenerate text; reading them would cost quadratic time.
_LONGEST_SIDE = 64
_MOST_DIGITS = 40

_TOKEN = re.compile(
    rf"""
    (?P<number>{DECIMAL})
  | (?P<percent>%(?!\s*[\d.(]))            # "40% = " is a percentage, "17 % 5" a remainder
  | (?P<operator>//|[-−–+*×·∗/÷%]|(?<![^\W\d])[xX](?=\s*[\d.($€£]))
  | (?P<paren>[()])
  | (?P<equals>=)
  | (?P<skip>[^\S\n]+|[$€£])
  | (?P<other>\w+|\n|.)
    """,
    re.VERBOSE,
)
_OPERATORS = {"//": "/", "−": "-", "–": "-", "×": "*", "·": "*", "∗": "*", "x": "*", "X": "*", "÷": "/"}


class _Kind(Enum):
    NUMBER = auto()
    OPERATOR = auto()
    SIGN = auto()
    OPEN = auto()
    CLOSE = auto()
    EQUALS = auto()
    BREAK = auto()  # no part of any equation
    CUT = auto()  # an operator whose left operand is no number ("S + 143"): what follows is half a term


class _Token(NamedTuple):
    kind: _Kind
    text: str
    value: Fraction | None = None  # of a number, exact: its spelling is rounded


class _Level(Enum):
    SUM = 1
    PRODUCT = 2
    ATOM = 3


@dataclass(frozen=True)
class _Term:
    """A parsed expression; `value` is None where it divides by zero."""

    text: str
    level: _Level
    value: Fraction | None
    operands: tuple[str, ...]
    operators: tuple[str, ...] = ()


@dataclass(frozen=True)
class Equation:
    """One stated equation in canonical spacing and notation.

    Attributes:
        left: the left-hand side, "16 - 3 - 4"; parentheses only where they are needed.
        operands: its numbers in order, ("16", "3", "4").
        operators: its operators in order, ("-", "-"), each one of + - * / %; () for a bare number.
        right: the right-hand side: the stated result, "9".
        holds: whether it is true. The result of a division that does not terminate may be rounded
            or cut: "10 / 3 = 3.33" holds, "7 / 2 = 4" does not.
    """

    left: str
    operands: tuple[str, ...]
    operators: tuple[str, ...]
    right: str
    holds: bool

    @property
    def claim(self) -> str:
        """The whole equation, "16 - 3 - 4 = 9"; the partial claim "= 9" for a bare "9 = 9" (see `claims`)."""
        return f"= {self.right}" if self._bare else f"{self.left} = {self.right}"

    @property
    def result(self) -> str:
        """The result, "9"."""
        return self.right

    @property
    def slots(self) -> tuple[str, ...]:
        """First operand, operators, last operand and result; the result alone for a bare "9 = 9"."""
        if self._bare:
            return "", "", "", self.right
        return self.operands[0], " ".join(self.operators), self.operands[-1], self.right

    @property
    def _bare(self) -> bool:
        """Whether it says only that a number is itself, as annotations of GSM8K do: <<9=9>>."""
        return not self.operators and self.left == self.right


def parse_equations(text: str) -> list[Equation]:
    """Return the equations that `text` states, in order.

    A line with annotations (`12/60 = $<<12/60=0.2>>0.2`) states what its annotations say, once.
    Elsewhere an equation needs an operator on its left, and numbers on both sides: "S + 143 = 200" and
    "20% of 50 = 10" state none.
    In a run-on such as "12 + 5 = 17 - 3 = 14" the first result is 17, unless the right side as a
    whole is equal to the left, as in "12 + 5 = 10 + 7".

    >>> [e.claim for e in parse_equations("He has 16-3-4=9 eggs and makes $2 x 9 = $18.")]
    ['16 - 3 - 4 = 9', '2 * 9 = 18']
    >>> [e.claim for e in parse_equations("3*(2/3) = <<3*(2/3)=2>>2")]
    ['3 * (2 / 3) = 2']
    """
    equations: list[Equation] = []
    for line in text.split("\n"):
        annotations = ANNOTATION.findall(line)
        for part in annotations or [line]:
            equations += _of_line(part, bare=bool(annotations))
    return equations


def _of_line(line: str, bare: bool) -> list[Equation]:
    tokens = _tokens(line)
    found: list[Equation] = []
    for i, token in enumerate(tokens):
        if token.kind is not _Kind.EQUALS:
            continue
        left, right = _left_of(tokens, i), _expression(tokens[i + 1 : i + 1 + _LONGEST_SIDE], 0)
        if left is not None and right is not None and (left.operators or bare):
            found.append(_equation(left, right[0]))
    return found


def _equation(left: _Term, right: _Term) -> Equation:
    if right.operators and (left.value is None or left.value != right.value):
        number = right.operands[0]
        right = _Term(number, _Level.ATOM, Fraction(number), (number,))
    return Equation(left.text, left.operands, left.operators, right.text, _holds(left.value, right))


def _holds(left: Fraction | None, right: _Term) -> bool:
    if left is None or right.value is None:
        return False
    if left == right.value:
        return True
    _, point, decimals = right.text.partition(".")
    rest = left.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    terminates = rest == 1
    unit = Fraction(1, 10 ** len(decimals))
    return bool(point) and not right.operators and not terminates and abs(left - right.value) < unit


def _tokens(line: str) -> list[_Token]:
    tokens: list[_Token] = []
    for match in _TOKEN.finditer(line):
        kind, text = match.lastgroup, match.group()
        last = tokens[-1].kind if tokens else None
        if kind == "skip":
            continue
        if kind == "percent":
            # "50%" may stand for 50 or for 0.5, except as a result ("= 60%").
            if last is _Kind.NUMBER and not (tokens[:-1] and tokens[-2].kind is _Kind.EQUALS):
                tokens[-1] = _Token(_Kind.BREAK, text)
        elif kind == "number":
            number = number_in(text) if len(text) <= _MOST_DIGITS else None
            tokens.append(
                _Token(_Kind.BREAK, text)
                if number is None
                else _Token(_Kind.NUMBER, spelled(number), Fraction(number))
            )
        elif kind == "operator":
            glued = line[match.end() : match.end() + 1].strip() != ""
            tokens.append(_operator(_OPERATORS.get(text, text), last, glued))
        elif kind == "paren":
            tokens.append(_Token(_Kind.OPEN if text == "(" else _Kind.CLOSE, text))
        else:
            tokens.append(_Token(_Kind.EQUALS if kind == "equals" else _Kind.BREAK, text))
    return tokens


def _operator(text: str, last: _Kind | None, glued: bool) -> _Token:
    """Tell an operator from a sign, the bullet of a list and the operator of an unread term."""
    if last in (_Kind.NUMBER, _Kind.CLOSE):
        return _Token(_Kind.OPERATOR, text)
    inside = last in (_Kind.OPERATOR, _Kind.SIGN, _Kind.OPEN, _Kind.EQUALS)
    if text in "+-" and (inside or (glued and (text == "-" or last is None))):
        return _Token(_Kind.SIGN, text)
    return _Token(_Kind.BREAK if last is None else _Kind.CUT, text)


_EXPRESSION_KINDS = (_Kind.NUMBER, _Kind.OPERATOR, _Kind.SIGN, _Kind.OPEN, _Kind.CLOSE)


def _left_of(tokens: Sequence[_Token], end: int) -> _Term | None:
    """The longest expression that ends just before `end`; None if there is only half of one."""
    first = end
    while first > max(0, end - _LONGEST_SIDE) and tokens[first - 1].kind in _EXPRESSION_KINDS:
        first -= 1
    side = tokens[first:end]  # not the whole line, which would be copied for each of its signs
    for start in range(len(side)):
        parsed = _expression(side, start)
        if parsed is not None and parsed[1] == len(side):
            return None if _halved(tokens, first + start) else parsed[0]
    return None


def _halved(tokens: Sequence[_Token], start: int) -> bool:
    """Whether the expression at `start` is the end of a longer one that cannot be read: 2 + 1 1/2, 5(6+3)."""
    before = [token.kind for token in tokens[max(0, start - 2) : start]]
    if before and before[-1] is _Kind.NUMBER:
        return tokens[start].kind is _Kind.OPEN or before[0] is _Kind.OPERATOR
    return bool(before) and before[-1] in (_Kind.OPERATOR, _Kind.SIGN, _Kind.CUT)


# ---- recursive descent: each returns the term and the index after it, or None


def _expression(tokens: Sequence[_Token], start: int, operators: str = "+-") -> tuple[_Term, int] | None:
    """A sum of products; with `operators="*/%"` a product of factors. Stops at what does not fit."""
    is_sum = operators == "+-"
    parsed = _expression(tokens, start, "*/%") if is_sum else _factor(tokens, start)
    while parsed is not None:
        left, i = parsed
        if i >= len(tokens) or tokens[i].kind is not _Kind.OPERATOR or tokens[i].text not in operators:
            break
        right = _expression(tokens, i + 1, "*/%") if is_sum else _factor(tokens, i + 1)
        if right is None:
            break
        level = _Level.SUM if is_sum else _Level.PRODUCT
        parsed = _binary(left, tokens[i].text, right[0], level), right[1]
    return parsed


def _factor(tokens: Sequence[_Token], start: int) -> tuple[_Term, int] | None:
    if start >= len(tokens):
        return None
    kind, text, value = tokens[start]
    if kind is _Kind.NUMBER:
        return _Term(text, _Level.ATOM, value, (text,)), start + 1
    if kind is _Kind.SIGN:
        inner = _factor(tokens, start + 1)
        if inner is None or text == "+":
            return inner
        return _negated(inner[0]), inner[1]
    if kind is _Kind.OPEN:
        inner = _expression(tokens, start + 1)
        if inner is not None and inner[1] < len(tokens) and tokens[inner[1]].kind is _Kind.CLOSE:
            return inner[0], inner[1] + 1
    return None


def _negated(term: _Term) -> _Term:
    value = None if term.value is None else -term.value
    if len(term.operands) == 1:
        number = term.operands[0].removeprefix("-")
        text = number if term.operands[0] != number or number == "0" else f"-{number}"
        return _Term(text, _Level.ATOM, value, (text,))
    text = f"-{term.text}" if term.level is _Level.ATOM else f"-({term.text})"
    return _Term(text, _Level.ATOM, value, term.operands, term.operators)


def _binary(left: _Term, operator: str, right: _Term, level: _Level) -> _Term:
    a = left.text if left.level.value >= level.value else f"({left.text})"
    b = right.text if right.level.value > level.value else f"({right.text})"
    return _Term(
        f"{a} {operator} {b}",
        level,
        _apply(operator, left.value, right.value),
        left.operands + right.operands,
        (*left.operators, operator, *right.operators),
    )


def _apply(operator: str, a: Fraction | None, b: Fraction | None) -> Fraction | None:
    if a is None or b is None or (operator in "/%" and b == 0):
        return None
    match operator:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/":
            return a / b
        case _:
            return a % b
