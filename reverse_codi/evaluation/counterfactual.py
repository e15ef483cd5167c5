"""What a trace would have come to, had one of its steps been another.

An edited step is written into the reasoner as a text (or as the thought that the text stands for). If the
text is what the thought says, the answer follows the edit by the steps that remain.
"""

from __future__ import annotations

import ast
import functools
import operator
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from reverse_codi.reading.claims import claims_text
from reverse_codi.tasks.claims import PartialClaim, parse_belongings, parse_claims, result_of
from reverse_codi.tasks.equations import Equation, parse_equations
from reverse_codi.tasks.numbers import spelled

# Edits near the original operand first: an effect must not come from a number of another size.
_REACHES = (range(1, 10), range(10, 100))
# With 0 or 1 as operand a step does nothing, and no task states such steps.
_LEAST_OPERAND = 2

_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}


@dataclass(frozen=True)
class Edit:
    """One step edited.

    Attributes:
        claim: the step with another last operand and the result that follows, "12 + 7 = 19": it holds.
        answer: the answer that the remaining steps then give.
        inconsistent: the step as it was, with that other result, "12 + 5 = 19": it does not hold. What
            moves with `claim` but not with this was computed anew from the operands.
    """

    claim: str
    answer: str
    inconsistent: str


def edited_step(
    claims: Sequence[str], step: int, rng: random.Random, knows: Callable[[str], bool]
) -> Edit | None:
    """Edit one step of a chain, at random among the edits that move its last operand by 9 at most.

    Only if there is none, among those that move it by 99 at most. A decimal is moved by as many units of its
    last digit.

    The numbers of the edited chain that the edit moves have no more decimals than those of the chain and are
    not negative, the new operand is 2 units or more, and the answer is another one.

    Args:
        claims: a chain: each claim's first operand is the result of the one before.
        step: index of the step to edit.
        rng: chooses among the edits.
        knows: whether the tokenizer knows every word of a text.

    Returns:
        The edit; None if there is none, or the later claims are no chain (see `implied_by`).
    """
    equation = _equation(claims[step])
    if equation is None or equation.operands[-1].startswith("-"):
        return None
    answer, last = result_of(claims[-1]), Decimal(equation.operands[-1])
    unit = Decimal(1).scaleb(-_decimals(equation.operands[-1]))
    for reach in _REACHES:
        operands = [last + sign * delta * unit for delta in reach for sign in (-1, 1)]
        for operand in rng.sample(operands, len(operands)):
            large = operand >= _LEAST_OPERAND * unit
            edit = _edit(claims, step, equation, spelled(operand), knows) if large else None
            if edit is not None and edit.answer != answer:
                return edit
    return None


def implied_by(claims: Sequence[str], step: int, result: str, true: Sequence[str] = ()) -> str | None:
    """The answer of a chain whose step `step` gives the canonical `result` instead.

    None where a later claim's first operand is not the former result, a claim is no equation, a division is
    by zero, or a value has no finite decimals, so that nobody knows how the model would round it. A chain of
    sentences goes on by those that are true beside it; None where they do not say how.

    >>> implied_by(["12 + 5 = 17", "17 * 2 = 34", "34 - 4 = 30"], 0, "19")
    '34'
    >>> implied_by(["Tom is a vumpus", "Every vumpus is a gorpus"], 0, "lempus", ["Every lempus is a tumpus"])
    'tumpus'
    """
    if parse_belongings(claims[step]):
        rules = {parsed.subject: parsed.result for claim in true for parsed in parse_belongings(claim)}
        for _ in claims[step + 1 :]:
            result = rules.get(result, "")
        return result if result.islower() else None
    later = _continued(claims, step, result)
    return None if later is None else (result, *(equation.result for equation in later))[-1]


def _edit(
    claims: Sequence[str], step: int, equation: Equation, operand: str, knows: Callable[[str], bool]
) -> Edit | None:
    """The edit to another last operand; None if it leaves the chain's kind of numbers or the vocabulary."""
    before, _, after = equation.left.rpartition(equation.operands[-1])
    left = f"{before}{operand}{after}"
    result = _written(_value(left))
    if result is None or (later := _continued(claims, step, result)) is None:
        return None
    edit = Edit(
        claim=f"{left} = {result}",
        answer=later[-1].result if later else result,
        inconsistent=f"{equation.left} = {result}",
    )
    known = [number for claim in claims if (of := _equation(claim)) for number in (*of.operands, of.result)]
    most = max(map(_decimals, known), default=0)
    moved = (result, *(e.result for e in later))
    alike = all(not number.startswith("-") and _decimals(number) <= most for number in moved)
    text = claims_text([edit.claim, edit.inconsistent, *(e.claim for e in later)])
    return edit if alike and knows(text) else None


def _decimals(number: str) -> int:
    """Decimals of a canonical number; those of an expression ("10 + 7") are of its last one."""
    return len(number.partition(".")[2])


def _continued(claims: Sequence[str], step: int, result: str) -> list[Equation] | None:
    """The claims after `step`, each recomputed from the result before it; `result` is that of `step`."""
    edited = _equation(claims[step])
    if edited is None:
        return None
    former, later = edited.result, []
    for claim in claims[step + 1 :]:
        equation = _equation(claim)
        if equation is None or equation.operands[0] != former:
            return None
        before, _, after = equation.left.partition(former)
        former, left = equation.result, f"{before}{result}{after}"
        written = _written(_value(left))
        if written is None:
            return None
        later += parse_equations(f"{left} = {written}")
        result = written
    return later


@functools.cache
def _equation(claim: str) -> Equation | None:
    equations = parse_equations(claim)
    return equations[0] if len(equations) == 1 else None


def _value(left: str) -> Fraction | None:
    """Exact value of a canonical left-hand side, whose notation is Python's; None for a division by zero."""
    return _of_node(ast.parse(left, mode="eval").body)


def _of_node(node: ast.expr) -> Fraction | None:
    match node:
        case ast.BinOp(left, op, right):
            a, b = _of_node(left), _of_node(right)
            if a is None or b is None or (isinstance(op, ast.Div | ast.Mod) and b == 0):
                return None
            return _OPERATORS[type(op)](a, b)
        case ast.UnaryOp(ast.USub(), operand):
            value = _of_node(operand)
            return None if value is None else -value
        case ast.Constant(value):
            return Fraction(str(value))
    raise ValueError(f"{ast.unparse(node)!r} is no arithmetic")


def _written(value: Fraction | None) -> str | None:
    """A canonical number; None where its decimals do not end."""
    if value is None:
        return None
    number = Decimal(value.numerator) / value.denominator
    return spelled(number) if Fraction(number) == value else None


def near_claims(claim: str, knows: Callable[[str], bool], question: str = "") -> list[str]:
    """Near misses of a claim.

    Of an equation the same step of minimal pairs: one operand moved by 1 to 9 and the result recomputed,
    nearest first. If no such result is whole, operands move by units of their last digit that is not 0 and
    results may have decimals. Of a result alone it is the result that moves. Of a sentence the same with its
    subject or its result exchanged for another one that the question names.

    >>> near_claims("12 + 5 = 17", lambda text: True)[:4]
    ['11 + 5 = 16', '13 + 5 = 18', '12 + 4 = 16', '12 + 6 = 18']
    >>> near_claims("Tom is a wumpus", lambda text: True, "Tom is a wumpus. Tom is a lempus.")
    ['Tom is a lempus']
    >>> near_claims("17.5 + 10 = 27.5", lambda text: True)[:2]
    ['17.4 + 10 = 27.4', '17.6 + 10 = 27.6']
    >>> near_claims("= 17", lambda text: True)[:2]
    ['= 16', '= 18']
    """
    equation = _equation(claim)
    if equation is None:
        partial = [near for near in _results_near(claim) if knows(f"{near}.")]
        return partial or [n.claim for parsed in parse_belongings(claim)[:1] for n in parsed.near(question)]
    whole = [near for near in _moved(equation, str.isdecimal, lambda _: Decimal(1)) if knows(f"{near}.")]
    return whole or [near for near in _moved(equation, _is_short, _last_unit) if knows(f"{near}.")]


def _moved(
    equation: Equation, is_number: Callable[[str], bool], unit: Callable[[Decimal], Decimal]
) -> Iterator[str]:
    """The equation with one operand moved by 1 to 9 units, where it and the result are such numbers."""
    words = equation.left.split(" ")
    places = [place for place, word in enumerate(words) if is_number(word)]
    for delta in _REACHES[0]:
        for place in places:
            value = Decimal(words[place])
            for number in (value - delta * unit(value), value + delta * unit(value)):
                left = " ".join([*words[:place], spelled(number), *words[place + 1 :]])
                result = None if number < 0 else _written(_value(left))
                if result is not None and is_number(result):
                    yield f"{left} = {result}"


def _results_near(claim: str) -> Iterator[str]:
    """A result alone, moved by 1 to 9 units of its last digit, nearest first."""
    for parsed in parse_claims(claim)[:1]:
        if isinstance(parsed, PartialClaim) and _is_short(parsed.result):
            value = Decimal(parsed.result)
            unit = Decimal(1).scaleb(int(value.as_tuple().exponent))
            for delta in _REACHES[0]:
                for number in (value - delta * unit, value + delta * unit):
                    if number >= 0:
                        yield PartialClaim(spelled(number)).claim


def _is_short(number: str) -> bool:
    """Whether it is a number that a step may have: not negative, with four decimals at most."""
    return re.fullmatch(r"\d+(\.\d{1,4})?", number) is not None


def _last_unit(value: Decimal) -> Decimal:
    """One of the last digit that is not 0: 0.1 of 17.5, 1000 of 134000."""
    return Decimal(1).scaleb(int(value.normalize().as_tuple().exponent))
