from __future__ import annotations

from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import HasVocabulary, MakesMinimalPairs, Split, split_by_hash
from reverse_codi.tasks.graph import Graph
from reverse_codi.tasks.jsonl import JsonLines


def test_split_by_hash_follows_the_percentage() -> None:
    sides = [split_by_hash(str(i), 20) for i in range(4_000)]
    assert 0.17 < sides.count(Split.HELDOUT) / len(sides) < 0.23
    assert {split_by_hash(str(i), 0) for i in range(50)} == {Split.TRAIN}


def test_what_a_task_can_do_beside_giving_problems_is_told_by_isinstance() -> None:
    for task, can in ((Arithmetic(), True), (Graph(), True), (JsonLines(source="questions.jsonl"), False)):
        assert isinstance(task, MakesMinimalPairs) == can
        assert isinstance(task, HasVocabulary) == can
