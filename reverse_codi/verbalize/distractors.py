"""Other thoughts that a text's reading is compared with beside its own."""

from __future__ import annotations

import itertools
import random
from collections.abc import Hashable, Iterator, Sequence

from reverse_codi.errors import UserError
from reverse_codi.reasoners.sites import Site


class Distractors:
    """Draws thoughts of the same site and of other problems.

    Args:
        sites: N sites.
        problems: of N thoughts, what tells their problems apart: a number or a question.
    """

    def __init__(self, sites: Sequence[Site], problems: Sequence[Hashable]) -> None:
        self.problems = problems
        self._of_site: dict[Site, list[int]] = {}
        for row, site in enumerate(sites):
            self._of_site.setdefault(site, []).append(row)

    def rows(self, site: Site, problem: Hashable, n: int, seed: int) -> list[int]:
        """`n` rows, the same ones for a seed; distinct where there are as many, else round and round.

        Raises:
            UserError: no other problem has a thought at this site.
        """
        of_site = self._of_site.get(site, [])
        places = _shuffled(len(of_site), random.Random(seed))
        others = (row for place in places if self.problems[row := of_site[place]] != problem)
        found = list(itertools.islice(others, n))
        if not found:
            raise UserError(
                f"no other problem has a thought at {site} to compare with; raise trace.n of the recipe, or "
                "raise --problems of a trial"
            )
        return [found[i % len(found)] for i in range(n)]


def seed_of(seed: int, row: int) -> int:
    """The seed of one row's distractors."""
    return seed * 1_000_003 + row


def _shuffled(n: int, rng: random.Random) -> Iterator[int]:
    """The numbers below `n` in random order, each drawn when it is asked for: a few of many cost little."""
    moved: dict[int, int] = {}
    for end in range(n, 0, -1):
        place = rng.randrange(end)
        yield moved.get(place, place)
        moved[place] = moved.pop(end - 1, end - 1)
