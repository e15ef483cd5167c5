"""Random words around claims, so that a map is sensitive to the claim and not to its wording.

A map fitted on bare claims takes any other wording for noise: another sentence with the same claim then
    matches 3 to 200 times worse than an empty text (docs/results.md). Fitted on claims among random words, a
    map loses .03 to .05 of match on sentences that it never saw.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from reverse_codi.tasks.claims import parse_claims
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
    claims = parse_claims(text)
    if not any(isinstance(claim, Equation) for claim in claims):
        return text
    for claim in claims:
        stated = claim.claim  # a partial claim stays a sentence of its own, or it would be none
        if isinstance(claim, Equation):
            verb = "is" if rng.random() < SAY_IS else "="
            parts = (_run(words, rng), f"{claim.left} {verb} {claim.right}", _run(words, rng))
            stated = " ".join(part for part in parts if part)
        sentences.append(f"{stated}.")
    return " ".join(sentences)


def _run(words: Sequence[Sequence[str]], rng: random.Random) -> str:
    """Up to `LONGEST` consecutive words of one question."""
    chosen = rng.choice(words)
    n = min(len(chosen), rng.randint(0, LONGEST))
    start = rng.randint(0, len(chosen) - n)
    return " ".join(chosen[start : start + n])
