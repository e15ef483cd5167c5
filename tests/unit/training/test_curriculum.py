from __future__ import annotations

from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.training.grpo import order

LENGTHS = [3, 1, 2] * 20


def test_without_a_curriculum_the_order_is_trls() -> None:
    assert order(LENGTHS, GrpoSection(steps=2, thoughts_per_step=4)) == list(range(60))


def test_short_problems_come_first_among_those_that_the_run_sees() -> None:
    section = GrpoSection(steps=3, thoughts_per_step=10, curriculum="short_first")
    rows = order(LENGTHS, section)
    assert sorted(rows) == list(range(60))
    seen = [LENGTHS[row] for row in rows[:30]]
    assert seen == sorted(seen) and set(seen) == {1, 2, 3}  # not the shortest alone
    assert rows[:30] != sorted(rows[:30], key=lambda row: (LENGTHS[row], row))  # shuffled among equals
    assert order(LENGTHS, section) == rows
    # Each batch learnt from twice: half as many batches.
    twice = section.model_copy(update={"iterations": 2, "steps": 6})
    assert order(LENGTHS, twice) == rows
    assert order(LENGTHS, section.model_copy(update={"seed": 1})) != rows
