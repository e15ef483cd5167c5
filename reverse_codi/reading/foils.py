"""Texts that a blind reading mistakes for the gold claim (docs/architecture.md).

Each foil is made from the problem alone, seeded by its text, so every ReadSpec sees the same ones.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from decimal import Decimal

from reverse_codi.reading.claims import NO_STEP, claims_text
from reverse_codi.reading.probes import result_of
from reverse_codi.reading.spec import before_last_number

CONSTANT = "10 + 10 = 20."
FOILS = (
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


def foils(question: str, claims: Sequence[str], held: Sequence[int]) -> Mapping[str, str]:
    """Foils of the gold text that says the `held` steps of `claims`.

    Numbers that are made up are no larger than the result where it is 4 or more, so that a closed vocabulary
    that has the result has them too: an unknown word would be too easy to tell from gold.

    Args:
        question: the problem's question.
        claims: all its claims.
        held: indices of the gold text's; at least one.

    Returns:
        name -> text: "cut" stops before the last result, "same_result" gives every held claim other
        operands, "wrong_result" another last result, "other_step" says steps that are not held (another
        claim with the first one's result where all are), "shuffled" has the gold words in random order;
        the others say what their name says. "constant" alone may be right, by chance.
    """
    gold = [claims[step] for step in held]
    text = claims_text(gold)
    rng = random.Random("/".join(gold) + question)
    rest = claims_text(claim for step, claim in enumerate(claims) if step not in held)
    if rest in (text, NO_STEP):
        rest = claims_text([_same_result(claims[0], rng)])
    words = gold_words = text.replace(".", " .").split()
    while words == gold_words:
        words = rng.sample(gold_words, len(gold_words))
    value = _last_number(gold[-1])
    wrong = value - rng.randint(1, 3) if value >= 4 else value + rng.randint(1, 3)
    return {
        "cut": before_last_number(text),
        "same_result": claims_text(_same_result(claim, rng) for claim in gold),
        "wrong_result": f"{before_last_number(text)} {wrong}.",
        "result_only": f"{result_of(gold[-1])}.",
        "final_answer": f"The answer is: {result_of(claims[-1])}",
        "question": question,
        "empty": "",
        "constant": CONSTANT,
        "other_step": rest,
        "shuffled": " ".join(words),
    }


def _same_result(claim: str, rng: random.Random) -> str:
    """Another sum or difference with the claim's result."""
    value = _last_number(claim)
    sums = [f"{value - b} + {b} = {value}" for b in range(2, int(value) - 1)]
    options = [option for option in sums if option != claim]
    options = options or [f"{value + b} - {b} = {value}" for b in range(2, 12)]
    return rng.choice([option for option in options if option != claim])


def _last_number(claim: str) -> Decimal:
    return Decimal(claim[len(before_last_number(claim)) :].strip().replace(",", ""))
