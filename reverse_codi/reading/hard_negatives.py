"""Hard negatives: texts that a blind reading confuses with the gold text (docs/results.md).

Each is made from the problem alone and seeded by its text, so every ReadSpec sees the same ones.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal

from reverse_codi.reading.claims import NO_STEP, claims_text
from reverse_codi.reading.reader import before_last_number
from reverse_codi.tasks.claims import Belonging, parse_belongings, result_of
from reverse_codi.tasks.numbers import spelled
from reverse_codi.tasks.spellings import numbers_in

CONSTANT = "10 + 10 = 20."
CONSTANT_SENTENCE = "Every wumpus is a tumpus."
LARGEST_OPERAND = 1_000
"""Invented operands are below this: of a result of nine digits there would be as many sums to choose from."""
# Classes for sentences whose question names no others.
_CLASSES = "Tom is a wumpus. Amy is a tumpus. Max is a lempus."
HARD_NEGATIVES = (
    "cut",
    "same_result",
    "wrong_result",
    "result_only",
    "final_answer",
    "question",
    "empty",
    "constant",
    "other_step",
    "shuffled",
)


def hard_negatives(question: str, claims: Sequence[str], encoded: Sequence[int]) -> Mapping[str, str]:
    """Hard negatives of the gold text that states the `encoded` steps of `claims`.

    Invented numbers are no larger than the result if that is 4 or more. A closed vocabulary that has the
    result then has them too; an unknown word would be too easy to distinguish from gold. Invented classes are
    those of the question.

    Args:
        question: the problem's question.
        claims: all its claims.
        encoded: indices of the claims in the gold text; at least one.

    Returns:
        name -> text: "cut" stops before the last result; "same_result" gives every encoded claim other
        operands; "wrong_result" has another last result; "other_step" states steps that are not encoded (if
        all are, another claim with the first one's result); "shuffled" has the gold words in random order;
        the names of the others describe them. Only "constant" may be right, by chance.
    """
    gold = [claims[step] for step in encoded]
    text = claims_text(gold)
    rng = random.Random("/".join(gold) + question)
    rest = claims_text(claim for step, claim in enumerate(claims) if step not in encoded)
    if rest in (text, NO_STEP):
        rest = claims_text([_same_result(claims[0], question, rng)])
    words = gold_words = text.replace(".", " .").split()
    while words == gold_words:
        words = rng.sample(gold_words, len(gold_words))
    cut = before_last_number(text)
    if in_words := bool(parse_belongings(gold[-1])):
        cut = text.removesuffix(f" {result_of(gold[-1])}.")
    return {
        "cut": cut,
        "wrong_result": f"{cut} {_wrong_result(gold[-1], question, rng)}.",
        "same_result": claims_text(_same_result(claim, question, rng) for claim in gold),
        "result_only": f"{result_of(gold[-1])}.",
        "final_answer": f"The answer is: {result_of(claims[-1])}",
        "question": question,
        "empty": "",
        "constant": CONSTANT_SENTENCE if in_words else CONSTANT,
        "other_step": rest,
        "shuffled": " ".join(words),
    }


def _wrong_result(claim: str, question: str, rng: random.Random) -> str:
    """A number 1 to 3 away from the claim's result, or another class."""
    if parsed := parse_belongings(claim):
        others = [near.result for near in _near(parsed[0], question) if near.subject == parsed[0].subject]
        return rng.choice(others)
    value = _last_number(claim)
    return spelled(value - rng.randint(1, 3) if value >= 4 else value + rng.randint(1, 3))


def _same_result(claim: str, question: str, rng: random.Random) -> str:
    """Another sum or difference with the claim's result, or another subject in its class."""
    if parsed := parse_belongings(claim):
        others = [near.claim for near in _near(parsed[0], question) if near.result == parsed[0].result]
        return rng.choice(others)
    value = _last_number(claim)
    result = spelled(value)
    last = min(int(value) - 1, LARGEST_OPERAND)
    sums = [f"{spelled(value - b)} + {b} = {result}" for b in range(2, last)]
    options = [option for option in sums if option != claim]
    options = options or [f"{spelled(value + b)} - {b} = {result}" for b in range(2, 12)]
    return rng.choice([option for option in options if option != claim])


def _near(parsed: Belonging, question: str) -> list[Belonging]:
    """Near misses of a sentence, of both kinds."""
    near = parsed.near(question)
    both = {other.subject == parsed.subject for other in near}
    return near if len(both) == 2 else parsed.near(f"{question} {_CLASSES}")


def _last_number(claim: str) -> Decimal:
    numbers = list(numbers_in(claim))
    return numbers[-1].value if numbers else Decimal(0)
