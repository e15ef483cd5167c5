"""Replacing a model's states while it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from reverse_codi.reasoners.sites import Site

Replaced = Mapping[Site, Tensor]
"""States [d] that replace those of one text, by site."""


def checked(
    replaced: Sequence[Replaced] | None, lengths: Sequence[int], iterations: int
) -> Sequence[Replaced]:
    """The states to replace in each text, given its number of tokens; nothing if None.

    Raises:
        ValueError: a site is not among a text's states.
    """
    if replaced is None:
        return [{}] * len(lengths)
    for states, length in zip(replaced, lengths, strict=True):
        for site in states:
            if site.iteration is None or site.index >= length or site.iteration > iterations:
                encoded = f"t0:0 to t{length - 1}:{iterations}"
                raise ValueError(f"{site} cannot be replaced; the states of this text are {encoded}")
    return replaced


def swapped(states: Tensor, replaced: Sequence[Replaced], iteration: int) -> Tensor:
    """States [B, T, d] after this many iterations, with the replacements of this iteration."""
    here = [
        (row, site.index, vector)
        for row, of_text in enumerate(replaced)
        for site, vector in of_text.items()
        if site.iteration == iteration
    ]
    if not here:
        return states
    states = states.clone()
    for row, token, vector in here:
        states[row, token] = vector.to(states)
    return states
