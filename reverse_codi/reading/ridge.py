"""Ridge regression with leave-one-out errors, from whichever system is smaller.

The rows of a fit say little of its errors where features are many: with more features than rows nothing at
all is left of them. What a fit without a row would miss of it follows from the fit with all rows (Hastie et
al., The Elements of Statistical Learning, 2nd edition, section 7.10).

Shapes: N rows, F features, C columns of a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Solved:
    """One target's regression.

    Attributes:
        left_out: [N, C] what a fit without the row, its mean included, would miss of it.
        solution: of the system that was solved: the weight [F, C], or [N, C] what each row adds to it.
        rows: [N, F] the features, if `solution` is of rows.
    """

    left_out: Tensor
    solution: Tensor
    rows: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """[F, C]; computed here, since it costs more than the errors where features are many."""
        return self.solution if self.rows is None else self.rows.T @ self.solution


def standardized(x: Tensor) -> Tensor:
    """The columns of x [N, F] with mean 0 and size 1; one that never varies stays 0."""
    return (x - x.mean(0)) / x.std(0).clamp(min=1e-6)


def ridge(x: Tensor, targets: Sequence[Tensor], penalties: Sequence[float]) -> list[Solved]:
    """Solve several targets, each with the penalty that errs least on rows that are left out.

    Time grows with max(N, F) min(N, F)^2 for each penalty, memory with min(N, F)^2.

    Args:
        x: [N, F] centred, in double precision.
        targets: each [N, C], centred.
        penalties: what is added to the diagonal.
    """
    rows, features = x.shape
    system = x @ x.T if rows < features else x.T @ x  # both have one solution
    make = _Rows if rows < features else _Features
    best: list[Solved | None] = [None] * len(targets)
    before = 0.0
    for penalty in penalties:
        system.diagonal().add_(penalty - before)
        before = penalty
        side = make(x, torch.linalg.cholesky(system), penalty)
        for place, target in enumerate(targets):
            found, kept = side.solve(target), best[place]
            if kept is None or found.left_out.square().sum() < kept.left_out.square().sum():
                best[place] = found
    return [solved for solved in best if solved is not None]


class _Features:
    """Solves by the Cholesky factor of X^T X [F, F] with its penalty."""

    def __init__(self, x: Tensor, factor: Tensor, penalty: float) -> None:
        self.x = x
        self.factor = factor
        leverage = torch.linalg.solve_triangular(factor, x.T, upper=False).square().sum(0)
        # The mean is fitted too. Without its share, what is left of a centred row follows from the others.
        self.left = 1 - leverage - 1 / len(x)  # [N]

    def solve(self, y: Tensor) -> Solved:
        """Of one target [N, C]."""
        weight = torch.cholesky_solve(self.x.T @ y, self.factor)
        return Solved((y - self.x @ weight) / self.left[:, None], weight)


class _Rows:
    """Solves by that of X X^T [N, N]."""

    def __init__(self, x: Tensor, factor: Tensor, penalty: float) -> None:
        self.x = x
        self.inverse = torch.cholesky_inverse(factor)
        self.left = self.inverse.diagonal() - 1 / (penalty * len(x))  # [N]

    def solve(self, y: Tensor) -> Solved:
        """Of one target [N, C]."""
        dual = self.inverse @ y  # [N, C]
        return Solved(dual / self.left[:, None], dual, self.x)
