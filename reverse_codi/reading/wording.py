"""Random words around claims, so that a map is sensitive to the claim and not to its wording.

A map fitted on bare claims takes any other wording for noise: another sentence with the same claim then
    matches 3 to 200 times worse than an empty text (docs/results.md). Fitted on claims among random words, a
    map loses .03 to .05 of match on sentences that it never saw.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from reverse_codi.tasks.claims import Belonging, parse_claims
from reverse_codi.tasks.equations import Equation

# Number of questions that give words, and the longest run of words on either side.
QUESTIONS, LONGEST = 3_000, 5
# Share of framed claims with "is" in place of "=".
SAY_IS = 0.25


def worded(texts: Sequence[str], questions: Sequence[str], share: float, seed: int = 0) -> list[str]:
    """Put every claim of a share of the texts among random words.

    Args:
        texts: N texts; those without an equation stay as they are.
        questions: source of the words; words with digits are not used.
        share: share of texts that are framed, 0 to 1.
        seed: seed of all draws.
    """
    rng = random.Random(seed)
    words = [
        [word for word in question.split() if not any(c.isdigit() for c in word)]
        for question in questions[:QUESTIONS]
    ]
    return [_framed(text, words, rng) if rng.random() < share else text for text in texts]


def _framed(text: str, words: Sequence[Sequence[str]], rng: random.Random) -> str:
    sentences = []
    for claim in parse_claims(text):
        if isinstance(claim, Belonging):
            return text
        verb = "is" if rng.random() < SAY_IS else "="
        left = claim.left if isinstance(claim, Equation) else ""
        right = claim.right if isinstance(claim, Equation) else claim.result
        parts = (_run(words, rng), f"{left} {verb} {right}".strip(), _run(words, rng))
        sentences.append(" ".join(part for part in parts if part) + ".")
    return " ".join(sentences) or text


def _run(words: Sequence[Sequence[str]], rng: random.Random) -> str:
    """Up to `LONGEST` consecutive words of one question."""
    chosen = rng.choice(words)
    n = min(len(chosen), rng.randint(0, LONGEST))
    start = rng.randint(0, len(chosen) - n)
    return " ".join(chosen[start : start + n])
