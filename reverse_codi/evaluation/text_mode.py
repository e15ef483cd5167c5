"""Does a model solve problems in written steps (CoT mode), or has it none?

The right answer alone does not say so: a model that is no longer asked to write, as in Coconut's last stage,
may state an answer with no step before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reverse_codi.tasks.base import Problem
from reverse_codi.tasks.claims import claims_of

# Below this share of the accuracy with thoughts, or of solutions that hold a step, there is no CoT mode.
HALF = 0.5


@dataclass(frozen=True)
class WrittenSteps:
    """What solutions in CoT mode hold.

    Attributes:
        any: for each problem whose gold steps are claims, whether its solution states a claim.
        gold: for each gold step of these, whether the solution has this very claim in its place.
    """

    any: list[bool]
    gold: list[bool]

    @staticmethod
    def of(solutions: Sequence[str], problems: Sequence[Problem]) -> WrittenSteps:
        """Of N solutions of N problems."""
        written_any: list[bool] = []
        gold: list[bool] = []
        for solution, problem in zip(solutions, problems, strict=True):
            wanted = claims_of(" ".join(f"{claim}." for claim in problem.claims))
            if not wanted:
                continue  # free sentences: whether one is a step cannot be told
            written = claims_of(solution)
            written_any.append(bool(written))
            gold += [
                claim == given for claim, given in zip(wanted, _padded(written, len(wanted)), strict=True)
            ]
        return WrittenSteps(written_any, gold)


def _padded(claims: Sequence[str], n: int) -> list[str]:
    """The first n claims; "" where there are fewer."""
    return [*claims[:n], *[""] * (n - len(claims))]
