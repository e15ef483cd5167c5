"""Penalises a text that unlike thoughts share: what a verbalizer says of everything says nothing.

Small vector-to-text policies collapse to one phrase while their score stays high (Natural
Language Autoencoders). With a step of T thoughts, a text that stands for 1 + n of them tells log T -
log(1 + n) of the log T that it takes to tell which one is meant; the penalty is the share that is missing.

Like thoughts may share a text. Thoughts are alike if one, taken as a guess of the other, matches it at least
`like`; those of different sites are not compared, since one step may be in both. What is compared is what
this actor scores: equal texts go to one actor, unless they are read after their question, and then n is
counted too low.

Shapes: n thoughts, d width.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from reverse_codi import RewardBatch, reward
from reverse_codi.reading.affine import AffineMap
from reverse_codi.reasoners.sites import Site
from reverse_codi.utils.config import Section

# One text for every thought; a failed text tells as little.
WORST = -1.0


class Novelty(Section):
    """Options of `novelty`."""

    like: float = Field(default=0.5, lt=1)
    """Match (1 the same, 0 the site's mean) from which two thoughts may share a text."""


@reward(worst=WORST)
def novelty(batch: RewardBatch, config: Novelty) -> list[float | None]:
    """-log(1 + n) / log T, where n of a step's T thoughts are unlike the text's own and share the text."""
    rows_of: dict[tuple[str, Site], dict[int, int]] = {}  # text and site -> thought -> a row of it
    keys = [(" ".join(text.split()), site) for text, site in zip(batch.texts, batch.sites, strict=True)]
    for row, key in enumerate(keys):
        rows_of.setdefault(key, {})[batch.thoughts[row]] = row
    unlike: dict[tuple[tuple[str, Site], int], int] = {}
    for key, row_of in rows_of.items():
        alike = matches(batch.metric.map_of(key[1]), batch.targets[list(row_of.values())]) >= config.like
        counts = (~alike).sum(1).tolist()
        unlike.update({(key, thought): n for thought, n in zip(row_of, counts, strict=True)})
    n_thoughts = max(2, len(set(batch.step.thoughts)))  # with one thought nothing can be shared
    shared = [unlike[key, thought] for key, thought in zip(keys, batch.thoughts, strict=True)]
    batch.log("shared", sum(n > 0 for n in shared) / len(shared))
    return [math.log(1 / (1 + n)) / math.log(n_thoughts) for n in shared]


def matches(map_: AffineMap, thoughts: Tensor) -> Tensor:
    """The match [n, n] of each thought [n, d] with every other one as its guess; 1 with itself."""
    white = thoughts @ map_.whitener.T
    distance = torch.cdist(white, white).square() / thoughts.shape[1]
    return 1 - distance / map_.distance(thoughts, map_.mean)[:, None]
