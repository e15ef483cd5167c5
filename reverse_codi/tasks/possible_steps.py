"""The steps that the words of a question allow, each with how far-fetched it is.

Who knows a result and the question can look up here what the result was made from. No label is needed, and
the question alone does not decide: any of its numbers can be added to, or taken from, any other.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import permutations

from reverse_codi.tasks.claims import parse_belongings
from reverse_codi.tasks.numbers import DECIMAL, canonical_number, spelled
from reverse_codi.tasks.steps import sentences

OPERATORS = "+-*/%"
FETCHED = 3
"""Cost of an operand that was used before, of an older result, and of leaving out the result before. On 2,000
training problems of the arithmetic task (seed 991) 2 to 5 find the same share of whole claims within .002."""
TURNED = 1
"""Cost of taking the result before, or the earlier number, for the second operand: 20 - 12 after 12."""

NOWHERE = -1
"""The place of what is no number of the question."""

_TIMES, _PARTS = "*", "/"
# A word that says what is done with its number. "Two" and "dozen" are numbers like any other; "one" is mostly
# no number at all ("keeps one of 4 parts").
_WORDS: Mapping[str, tuple[int, str]] = {
    **{
        word: (value, OPERATORS)
        for value, word in enumerate("two three four five six seven eight nine ten eleven twelve".split(), 2)
    },
    "dozen": (12, OPERATORS),
    **dict.fromkeys(("double", "doubles", "doubled", "doubling", "twice"), (2, _TIMES)),
    **dict.fromkeys(("triple", "triples", "tripled", "tripling", "thrice"), (3, _TIMES)),
    **dict.fromkeys(("half", "halves", "halved"), (2, _PARTS)),
    **dict.fromkeys(("third", "thirds"), (3, _PARTS)),
    **dict.fromkeys(("quarter", "quarters"), (4, _PARTS)),
}
_NUMBER = re.compile(rf"(?P<number>{DECIMAL})(?P<percent>\s?%(?!\s*[\d.(]))?(?P<times>\s+times\b)?|[^\W\d_]+")


@dataclass(frozen=True)
class PossibleStep:
    """One step that a question allows.

    Attributes:
        claim: in canonical form, "12 + 5 = 17" or "Every wumpus is a tumpus".
        result: its result.
        cost: 0 for the plainest: the result before with the next number of the question.
        places: which numbers of the question it uses, counted from 0.
    """

    claim: str
    result: str
    cost: int
    places: frozenset[int] = frozenset()


@dataclass(frozen=True)
class _Operand:
    """A number of the question, or (without a place) the result of a step before."""

    number: str
    place: int = NOWHERE
    operators: str = OPERATORS

    @property
    def places(self) -> frozenset[int]:
        return frozenset() if self.place == NOWHERE else frozenset([self.place])


def possible_steps(question: str, results: Sequence[str], used: Collection[int]) -> list[PossibleStep]:
    """Every step that can come next, in no order; no claim occurs twice.

    A question with numbers allows sums of two operands: its numbers, written in digits or words, and the
    results before. Differences are not negative, results have at most two decimals, and a step that changes
    nothing is left out. A question without numbers allows the sentences "A is a B" that it states.

    >>> steps = possible_steps("Ann has 12 eggs. She buys 5 more.", [], ())
    >>> [step.claim for step in steps]
    ['12 + 5 = 17', '12 - 5 = 7', '12 * 5 = 60', '12 / 5 = 2.4', '12 % 5 = 2']

    Args:
        question: the problem.
        results: results of the steps before, in order.
        used: places of the numbers that they used.
    """
    numbers = _numbers(question)
    candidates = _sums(numbers, results, used) if numbers else _sentences(question, results)
    cheapest: dict[str, PossibleStep] = {}
    for step in candidates:
        if step.claim not in cheapest or step.cost < cheapest[step.claim].cost:
            cheapest[step.claim] = step
    return list(cheapest.values())


def has_numbers(question: str) -> bool:
    """Whether the steps of a question are sums."""
    return bool(_numbers(question))


@functools.lru_cache(maxsize=1024)
def _numbers(question: str) -> tuple[_Operand, ...]:
    """The numbers of a question, in order; "20%" is 20, and a share of .2 that something is multiplied by."""
    found: list[_Operand] = []
    place = 0
    for match in _NUMBER.finditer(question):
        if match["number"] is None:
            known = _WORDS.get(match[0].lower())
            operands = [] if known is None else [_Operand(str(known[0]), place, known[1])]
        else:
            number = canonical_number(match["number"]) or "0"
            operands = [_Operand(number, place, _TIMES if match["times"] else OPERATORS)]
            share = spelled(Decimal(number) / 100)
            operands += [_Operand(share, place, _TIMES)] if match["percent"] else []
        found += operands
        place += bool(operands)
    return tuple(found)


def _sums(
    numbers: Sequence[_Operand], results: Sequence[str], used: Collection[int]
) -> Iterator[PossibleStep]:
    waiting = {number.place for number in numbers} - set(used)

    def cost(operand: _Operand, *taken: _Operand) -> int:
        """How many numbers it passes over that wait to be used."""
        if operand.place not in waiting:
            return FETCHED
        others = {other.place for other in taken}
        return sum(place < operand.place and place not in others for place in waiting)

    older = [_Operand(result) for result in results if canonical_number(result) == result]
    last = older.pop() if older else None
    if last is not None:
        for number in numbers:
            yield from _both_ways(last, number, cost(number))
        for result in older:
            yield from _both_ways(result, last, FETCHED)
    for first, second in permutations(numbers, 2):
        if first.place < second.place:
            left_out = 0 if last is None else FETCHED
            yield from _both_ways(first, second, cost(first) + cost(second, first) + left_out)


def _both_ways(first: _Operand, second: _Operand, cost: int) -> Iterator[PossibleStep]:
    """Sums of two operands; sums and products only in the order of the text, "twice 12" as 12 * 2."""
    if first.operators != OPERATORS and second.operators == OPERATORS:
        first, second = second, first
    yield from _of(first, second.operators, second, cost)
    if second.operators == OPERATORS:
        yield from _of(second, "-/", first, cost + TURNED)


def _of(first: _Operand, operators: str, second: _Operand, cost: int) -> Iterator[PossibleStep]:
    for operator in operators:
        result = _result(first.number, operator, second.number)
        if result is not None:
            claim = f"{first.number} {operator} {second.number} = {result}"
            yield PossibleStep(claim, result, cost, first.places | second.places)


@functools.lru_cache(maxsize=2**17)  # the numbers of problems are few, and exact arithmetic is slow
def _result(first: str, operator: str, second: str) -> str | None:
    """The result of two canonical numbers; None for a step that is left out (see `possible_steps`)."""
    a, b = Fraction(first), Fraction(second)
    value = _value(a, operator, b)
    if value is None or value == a or (100 * value).denominator != 1:
        return None
    return spelled(Decimal(int(100 * value)).scaleb(-2))


def _value(a: Fraction, operator: str, b: Fraction) -> Fraction | None:
    match operator:
        case "+":
            return a + b
        case "-":
            return a - b if a >= b else None
        case "*":
            return a * b
        case "/":
            return a / b if b else None
        case _:
            return a % b if a.denominator == b.denominator == 1 and b > 1 else None


def _sentences(question: str, results: Sequence[str]) -> Iterator[PossibleStep]:
    """What the question states; plainest of the class reached before, at first of who is asked about."""
    asking = sentences(question)[-1] if question.strip() else ""
    for stated in parse_belongings(question):
        follows = stated.subject == results[-1] if results else stated.subject in re.findall(r"\w+", asking)
        yield PossibleStep(stated.claim, stated.result, 0 if follows else FETCHED)
