"""How many thoughts a verbalizer gives the same text: what fits most thoughts says nothing of one.

Shapes: N texts, R references.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reverse_codi.reading.claims import stated
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.verbalize.translations.given import map_site

FEWEST = 10
"""Traces of one call from which on they say how many traces get the same text."""


@dataclass(frozen=True)
class Sharing:
    """What other thoughts get of N texts.

    Attributes:
        alike: [N, R] whether each of the site's first R references gets the same text; None where references
            have no text.
        shares: of each text the share of other thoughts that get it; None where no others are at hand.
    """

    alike: Tensor | None
    shares: Sequence[float | None]

    def discount(self, trust: Tensor) -> Tensor:
        """The trust [N] that is left, where `alike` could not be taken into account before."""
        if self.alike is not None:
            return trust
        return trust * torch.tensor([1 - (share or 0.0) for share in self.shares])


def sharing_of(references: Mapping[Site, Sequence[str]], site: Site, texts: Sequence[str]) -> Sharing:
    """Compare N texts with what the verbalizer says of other thoughts.

    The others are the site's references. The many thoughts that hold no step rightly share "(no step)" and
    are not among them; a verbalizer that writes it for thoughts with a step is found out. Whole traces have
    no references with a text: there the others are those of this call.

    Args:
        references: texts of each site's first R references (`reference_texts`).
        site: of all texts; an h or its z, or the answer.
        texts: N texts.
    """
    contents = [stated(text) for text in texts]
    if site == ANSWER:
        if len(contents) < FEWEST:
            return Sharing(None, [None] * len(contents))
        counts = Counter(contents)
        return Sharing(None, [(counts[own] - 1) / (len(contents) - 1) for own in contents])
    others = [stated(text) for text in references.get(map_site(site), ())]
    if not others:
        return Sharing(None, [None] * len(contents))
    alike = torch.tensor([[other == own for other in others] for own in contents])
    return Sharing(alike, alike.float().mean(1).tolist())
