from __future__ import annotations

import pytest
import torch

from reverse_codi.training.content_check import ContentLostError, ContentWatch
from reverse_codi.verbalize.scores import Scored

N = 40


def scored(match: float, content: float) -> Scored:
    """Texts whose thoughts match alike, a share of them right."""
    right = (torch.arange(N) < content * N).float()
    return Scored(torch.full((N,), 1 - match), torch.ones(N), 0.0, right, right, right, ["x"] * N)


def watched(*figures: tuple[float, float]) -> None:
    watch = ContentWatch(list(range(N)))
    for match, content in figures:
        watch(scored(match, content))


def test_a_match_that_costs_content_stops_the_run() -> None:
    with pytest.raises(ContentLostError, match=r"rose by 0.300.*fell by -0.300.*\(0.800 to 0.500\)"):
        watched((0.2, 0.8), (0.5, 0.5))


def test_the_best_content_so_far_is_what_counts() -> None:
    with pytest.raises(ContentLostError, match=r"\(0.900 to 0.600\)"):
        watched((0.1, 0.2), (0.3, 0.9), (0.5, 0.6))


@pytest.mark.parametrize(
    "after",
    [
        (0.5, 0.8),  # as much content
        (0.1, 0.5),  # both fall: no gain is claimed
        (0.5, 0.775),  # one text of forty: within the interval
    ],
)
def test_other_changes_go_on(after: tuple[float, float]) -> None:
    watched((0.2, 0.8), after)
