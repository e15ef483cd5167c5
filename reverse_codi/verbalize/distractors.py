"""Other thoughts that a text's reading is compared with beside its own."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence

import torch

from reverse_codi.reasoners.sites import Site
from reverse_codi.utils.config import UserError


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
        order = torch.randperm(len(of_site), generator=torch.Generator().manual_seed(seed)).tolist()
        others = (row for place in order if self.problems[row := of_site[place]] != problem)
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
