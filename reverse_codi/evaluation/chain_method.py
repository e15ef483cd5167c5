"""A verbalizer of target `answer` in the place of one that translates single thoughts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.claims import claims_of
from reverse_codi.verbalize.thoughts import Thoughts


@dataclass(frozen=True)
class ChainMethod:
    """Gives each thought the claims of its trace's text that its site encodes.

    A thought without the others of its trace (one that was swapped in alone) has no text: such a verbalizer
    cannot translate a single thought.

    Attributes:
        chains: latent inputs [N, K, d] in, N texts of whole traces out.
        encoded: which claims each site encodes.
        sites: h0..h(K-1).
    """

    chains: Callable[[Tensor], list[str]]
    encoded: EncodedSteps
    sites: list[Site]

    def __call__(self, thoughts: Thoughts) -> list[str]:
        """A text for each thought."""
        rows: dict[int, dict[Site, int]] = {}
        for row, (problem, site) in enumerate(zip(thoughts.problems, thoughts.sites, strict=True)):
            rows.setdefault(problem, {})[site] = row
        whole = [found for found in rows.values() if found.keys() >= set(self.sites)]
        texts = [""] * len(thoughts)
        if whole:
            latent_inputs = torch.stack(
                [thoughts.slots[[found[site] for site in self.sites], 0] for found in whole]
            )
            for found, chain in zip(whole, self.chains(latent_inputs), strict=True):
                claims = claims_of(chain)
                for site, row in found.items():
                    texts[row] = self.encoded.text(site, claims)
        return texts
