"""Texts that a blind reading mistakes for the gold claim (docs/architecture.md).

Each foil is made from the problem alone, seeded by its text, so every ReadSpec sees the same ones.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from reverse_codi.reading.claims import claims_text
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

    Returns:
        name -> text: "cut" stops before the last result, "same_result" gives every held claim other
        operands, "wrong_result" another last result, "other_step" says steps that are not held (the
        next problem's kind of claim where all are), "shuffled" has the gold words in random order;
        the others say what their name says.
    """
    gold = [claims[step] for step in held]
    rng = random.Random("/".join(gold) + question)
    last = result_of(gold[-1]) if gold else ""
    rest = [claim for step, claim in enumerate(claims) if step not in held]
    words = claims_text(gold).replace(".", " .").split()
    rng.shuffle(words)
    wrong = claims_text(gold)
    if gold:
        value = float(last) if "." in last else int(last)
        changed = value + rng.choice([-3, -2, -1, 1, 2, 3])
        wrong = f"{before_last_number(wrong)} {max(1, changed) if changed != value else value + 1}."
    return {
        "cut": before_last_number(claims_text(gold)),
        "same_result": claims_text(_same_result(claim, rng) for claim in gold),
        "wrong_result": wrong,
        "result_only": f"{last}.",
        "final_answer": f"The answer is: {result_of(claims[-1])}",
        "question": question,
        "empty": "",
        "constant": CONSTANT,
        "other_step": claims_text(rest or [_same_result(claims[0], rng)]),
        "shuffled": " ".join(words),
    }


def _same_result(claim: str, rng: random.Random) -> str:
    """Another sum or difference with the claim's result."""
    result = result_of(claim)
    if not result.lstrip("-").isdigit():
        return claim
    value = int(result)
    options = [f"{value - b} + {b} = {value}" for b in range(2, value - 1)]
    options += [f"{value + b} - {b} = {value}" for b in range(2, 12)]
    return rng.choice([option for option in options if option != claim])
