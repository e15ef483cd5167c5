from __future__ import annotations

import pytest
import torch

from reverse_codi.evaluation.metrics.ranking import ranks, reciprocal, top1

INF = float("inf")


def test_ranks() -> None:
    distances = torch.tensor(
        [
            [0.1, 0.2, 0.3, 0.4],  # nearest
            [0.3, 0.2, 0.1, 0.4],  # two are nearer
            [0.1, INF, INF, 0.2],  # absent ones do not count
            [0.2, 0.2, 0.1, 0.4],  # a tie counts against it
            [INF, INF, 0.1, 0.4],  # not read
        ]
    )
    own = ranks(distances)
    assert own.tolist() == [1, 3, 1, 3, 4]
    assert top1(own).tolist() == [1, 0, 1, 0, 0]
    assert reciprocal(own).tolist() == pytest.approx([1, 1 / 3, 1, 1 / 3, 1 / 4])


def test_a_constant_text_retrieves_nothing() -> None:
    own = ranks(torch.full((5, 64), 0.7))
    assert own.tolist() == [64] * 5
    assert top1(own).sum() == 0


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rows \[1\] are NaN"):
        ranks(torch.tensor([[0.1, 0.2], [float("nan"), 0.2]]))
