"""Supervised, for ablations only: does the text say the gold claim?

It needs the labels that the method does without, so it says how far a reward could get, not how far one does
get: a verbalizer trained on it learns to solve the problem, also where the thought is wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

from reverse_codi import RewardBatch, reward
from reverse_codi.errors import RecipeError
from reverse_codi.reading.claims import NO_STEP, EncodedSteps
from reverse_codi.tasks.claims import stated
from reverse_codi.utils.config import Section

# Nothing of the claim is 0; a failed text is below what was read and found wrong.
WORST = -1.0

_WORD = re.compile(r"\d+(?:\.\d+)?|\w+|[^\w\s]")


class GoldClaim(Section):
    """Options of `gold_claim`."""

    encoded_steps: str = ""
    """An encoded_steps.json, as a run leaves in its `reading` folder: the gold claims are then those that the
    site holds, and the text must state all. If empty, any claim of the problem is as good."""


@reward(worst=WORST, name="gold_claim", supervised=True)
class GoldClaimReward:
    """Share of the gold claim's words in the nearest stated claim; None for tasks without claims.

    Args:
        config: which claims are gold.

    Raises:
        RecipeError: there is no such file.
    """

    def __init__(self, config: GoldClaim) -> None:
        file = Path(config.encoded_steps)
        if config.encoded_steps and not file.is_file():
            raise RecipeError(
                f"encoded_steps: no file {file}; a run writes reading/encoded_steps.json, or leave it out"
            )
        self.encoded = EncodedSteps.from_json(file.read_text()) if config.encoded_steps else None

    def __call__(self, batch: RewardBatch) -> list[float | None]:
        """Compare words, in order."""
        values: list[float | None] = [None] * len(batch)
        for row, claims in enumerate(batch.claims or []):
            if claims:
                made = stated(batch.texts[row])
                values[row] = nearest(made, claims)
                if self.encoded is not None:
                    gold = self.encoded.claims(batch.sites[row], claims) or [NO_STEP]
                    values[row] = (nearest(made, gold) + nearest(gold, made)) / 2
        return values


def nearest(claims: Sequence[str], others: Sequence[str]) -> float:
    """How much of a claim is in the nearest of the others, mean over claims.

    A claim that is made more often than the others make it counts for nothing the further times: a chain may
    make one step twice.

    >>> nearest(["12 + 5 = 17", "9 - 8 = 1"], ["12 + 5 = 17"])
    0.5
    >>> nearest(["5 + 5 = 10", "10 - 5 = 5", "5 + 5 = 10"], ["5 + 5 = 10", "10 - 5 = 5"]) == 2 / 3
    True
    """
    there = Counter(others)
    further = (Counter(claims[:i])[claim] >= there[claim] > 0 for i, claim in enumerate(claims))
    near = (max(overlap(claim, other) for other in others) for claim in claims)
    return sum(0.0 if again else most for again, most in zip(further, near, strict=True)) / len(claims)


def overlap(claim: str, other: str) -> float:
    """2 x words in common, in order, / words of both (Ratcliff and Obershelp 1988, as difflib has it).

    An "=" does not count: every equation has one.

    >>> overlap("12 + 5 = 17", "12 + 7 = 19")
    0.5
    """
    words, of_other = ([word for word in _WORD.findall(text) if word != "="] for text in (claim, other))
    return SequenceMatcher(None, words, of_other, autojunk=False).ratio()
