from __future__ import annotations

from reverse_codi.tasks.base import Split, split_by_hash


def test_split_by_hash_follows_the_percentage() -> None:
    sides = [split_by_hash(str(i), 20) for i in range(4_000)]
    assert 0.17 < sides.count(Split.HELDOUT) / len(sides) < 0.23
    assert {split_by_hash(str(i), 0) for i in range(50)} == {Split.TRAIN}
