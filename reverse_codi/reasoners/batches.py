"""Which rows the frozen model reads at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

CPU_TOKENS = 4096
"""Tokens of a batch on a CPU, padding included: more leave its caches. The embedded model thinks about 409
questions a second where 128 are asked at once (of 32 tokens), 305 where 512 are (one thread, AMD EPYC)."""


def batches(
    lengths: Sequence[int] | Sequence[tuple[int, str]], rows: int, tokens: int | None = None
) -> Iterator[list[int]]:
    """Row indices in batches of similar length, so that there is little padding.

    Args:
        lengths: of each row its tokens, or these and its text; rows of one text then lie together.
        rows: most rows of a batch.
        tokens: most tokens of a batch of more than one row, padding included.
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[row]
        padded = (len(batch) + 1) * (length if isinstance(length, int) else length[0])
        if batch and (len(batch) == rows or (tokens is not None and padded > tokens)):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
