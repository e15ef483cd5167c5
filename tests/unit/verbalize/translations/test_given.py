"""Parts of what is translated."""

from __future__ import annotations

import torch

from reverse_codi.reasoners.sites import Site
from reverse_codi.verbalize.translations.given import Given

H0, Z1 = Site("h", 0), Site("z", 1)
SLOTS = {H0: torch.arange(6.0).view(3, 1, 2), Z1: torch.arange(6.0, 12.0).view(3, 1, 2)}
GIVEN = Given(SLOTS, {H0: torch.ones(3, 2)}, ["a", None, "c"], ["1", "2", None], [None, "f[1]", "f[2]"])


def test_one_site_has_every_row_and_its_target_where_there_is_one() -> None:
    first, second = GIVEN.at(H0), GIVEN.at(Z1)
    assert list(first.slots) == [H0] and torch.equal(first.slots[H0], SLOTS[H0])
    assert torch.equal(first.targets[H0], torch.ones(3, 2))
    assert list(second.slots) == [Z1] and second.targets == {}
    assert len(second) == 3 and (second.questions, second.answers, second.sources) == (
        GIVEN.questions,
        GIVEN.answers,
        GIVEN.sources,
    )


def test_rows_are_taken_in_order() -> None:
    taken = GIVEN.take([2, 0])
    assert taken.questions == ["c", "a"] and taken.answers == [None, "1"]
    assert taken.slots[Z1].flatten().tolist() == [10.0, 11.0, 6.0, 7.0]
