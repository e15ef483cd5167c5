"""How many of a solution's steps a logit lens names: CODI's figure of its thoughts, from its own log.

A step is intermediate unless it is the last, whose result is the answer. Its result is found where one of a
latent's k likeliest tokens is that number, at any latent. The control reads another problem's latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reverse_codi.tasks.listings import Listed
from reverse_codi.tasks.numbers import canonical_number, whole_number
from reverse_codi.utils import figures
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.figures import Figures
from reverse_codi.utils.tables import Table

# Steps that have a column of their own in the table by latent.
_STEPS = 3


@dataclass(frozen=True)
class Lensed:
    """One problem's steps and latents.

    Attributes:
        results: results of its intermediate steps; None for one that is no number ("3/4=3/4").
        latents: for each latent the numbers that its tokens are, None for other tokens, likeliest first.
    """

    results: list[str | None]
    latents: list[list[str | None]]

    @staticmethod
    def of(listed: Listed, results: Sequence[str]) -> Lensed:
        """From a log's tokens and the results of all gold steps, the last one's included."""
        tokens = [[canonical_number(token) for token in latent] for latent in listed.latents]
        return Lensed([whole_number(result) for result in results[:-1]], tokens)


def metric(problems: Sequence[Lensed]) -> Figures:
    """Shares by number of intermediate steps, and by latent.

    Args:
        problems: N problems.

    Returns:
        `steps.2.top1`, `.top5` and `.shuffled` (of problems with 2 intermediate steps; 5 is the longest list
        of tokens), `latent.0.number` (its likeliest token is a number), `latent.0.step.1` (it names step 1).
    """
    k = top_of(problems)
    found: Figures = {}
    for n in sorted({len(problem.results) for problem in problems} - {0}):
        group = [problem for problem in problems if len(problem.results) == n]
        others = group[1:] + group[:1]
        found[f"steps.{n}.top1"] = _named(group, group, 1)
        found[f"steps.{n}.top{k}"] = _named(group, group, k)
        found[f"steps.{n}.shuffled"] = _named(group, others if len(group) > 1 else [], k)
    for place in range(max((len(problem.latents) for problem in problems), default=0)):
        there = [problem for problem in problems if place < len(problem.latents)]
        numbers = [problem.latents[place][:1] not in ([], [None]) for problem in there]
        found[f"latent.{place}.number"] = figures.mean(numbers, range(len(there)))
        for step in range(_STEPS):
            asked = [p for p in there if step < len(p.results) and p.results[step] is not None]
            hits = [p.results[step] in p.latents[place] for p in asked]
            found[f"latent.{place}.step.{step + 1}"] = figures.mean(hits, range(len(asked)))
    return found


def top_of(problems: Sequence[Lensed]) -> int:
    """The longest list of tokens of a latent."""
    return max((len(tokens) for problem in problems for tokens in problem.latents), default=0)


def _named(problems: Sequence[Lensed], read: Sequence[Lensed], k: int) -> Interval:
    """Share of the problems' results that the latents of `read` name among k tokens."""
    hits: list[bool] = []
    rows: list[int] = []
    for row, (problem, other) in enumerate(zip(problems, read, strict=bool(read))):
        named = {number for tokens in other.latents for number in tokens[:k]}
        known = [result for result in problem.results if result is not None]
        hits += [result in named for result in known]
        rows += [row] * len(known)
    return figures.mean(hits, rows)


def by_steps(problems: Sequence[Lensed], found: Figures) -> Table:
    """The table by number of intermediate steps: a line for each list of tokens, and one for the control."""
    k = top_of(problems)
    table = Table("steps between", "problems", "results", "named by", "share [95 %]")
    for n in sorted({len(problem.results) for problem in problems} - {0}):
        group = [problem for problem in problems if len(problem.results) == n]
        results = sum(result is not None for problem in group for result in problem.results)
        of = {"top 1": "top1", f"top {k}": f"top{k}", "another problem's latents": "shuffled"}
        for name, key in of.items():
            share = found[f"steps.{n}.{key}"]
            counts = (str(n), f"{len(group):,}", f"{results:,}")
            table.add_row(*counts, name, str(share) if share.n else "-")
    return table


def by_latent(found: Figures) -> Table:
    """The table by latent."""
    steps = [f"names step {step + 1}" for step in range(_STEPS)]
    table = Table("latent", "likeliest token is a number", *steps)
    places = sorted({int(key.split(".")[1]) for key in found if key.startswith("latent.")})
    for place in places:
        keys = ["number", *(f"step.{step + 1}" for step in range(_STEPS))]
        shares = [found[f"latent.{place}.{key}"] for key in keys]
        table.add_row(str(place), *(f"{share.value:.3f}" if share.n else "-" for share in shares))
    return table
