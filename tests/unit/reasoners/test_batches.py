from __future__ import annotations

from reverse_codi.reasoners.batches import batches


def test_rows_of_like_length_lie_together_within_the_bounds() -> None:
    assert list(batches([3, 9, 1, 4], rows=2)) == [[2, 0], [3, 1]]
    assert list(batches([3, 9, 1, 4], rows=9, tokens=12)) == [[2, 0, 3], [1]]
    assert list(batches([5, 50, 5], rows=9, tokens=12)) == [[0, 2], [1]]  # a long one goes alone
    assert list(batches([], rows=2)) == []


def test_rows_of_one_text_lie_together() -> None:
    lengths = [(4, "b"), (4, "a"), (4, "b"), (4, "a")]
    assert list(batches(lengths, rows=2)) == [[1, 3], [0, 2]]
