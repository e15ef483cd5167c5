"""Linear probes: which slots of which step can be read at which site.

A probe is a multinomial logistic regression on standardized vectors. Probes decide which claims a site's gold
text states (`EncodedSteps`), and whether a reasoner is worth translating. They are trained on training traces
only.

Shapes: N traces, d width, C distinct labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor

from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.claims import parse_claims, result_of


@dataclass(frozen=True)
class Probe:
    """One fitted linear probe.

    Attributes:
        labels: class names, the results that occurred in training.
        weight: [d, C], for raw vectors.
        bias: [C].
    """

    labels: tuple[str, ...]
    weight: Tensor
    bias: Tensor

    @staticmethod
    def fit(
        vectors: Tensor, labels: Sequence[str], *, epochs: int = 12, seed: int = 0, batch_size: int = 1024
    ) -> Probe:
        """Fit by AdamW on vectors [N, d] and N labels; weight decay 1e-3, rate falling to 0."""
        names = tuple(sorted(set(labels)))
        index = {name: i for i, name in enumerate(names)}
        target = torch.tensor([index[label] for label in labels])
        mean, deviation = vectors.mean(0), vectors.std(0).clamp(min=1e-6)
        x = (vectors - mean) / deviation
        weight = torch.zeros(x.shape[1], len(names), requires_grad=True)
        bias = torch.zeros(len(names), requires_grad=True)
        optimizer = torch.optim.AdamW([weight, bias], lr=3e-2, weight_decay=1e-3)
        generator = torch.Generator().manual_seed(seed)
        total = epochs * -(-len(x) // batch_size)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / total))
        for _ in range(epochs):
            for rows in torch.randperm(len(x), generator=generator).split(batch_size):
                loss = F.cross_entropy(x[rows] @ weight + bias, target[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        raw = weight.detach() / deviation[:, None]
        return Probe(names, raw, bias.detach() - mean @ raw)

    def predict(self, vectors: Tensor) -> list[str]:
        """The most likely label of each vector [N, d]."""
        return [self.labels[i] for i in (vectors @ self.weight + self.bias).argmax(-1).tolist()]

    def accuracy(self, vectors: Tensor, labels: Sequence[str]) -> float:
        """Share of N vectors [N, d] whose label is predicted."""
        return sum(p == t for p, t in zip(self.predict(vectors), labels, strict=True)) / len(labels)


def parts_of(claim: str) -> tuple[str, ...]:
    """The slots of a claim: a thought that encodes the claim holds each of them.

    >>> parts_of("12 + 5 = 17"), parts_of("Every wumpus is a tumpus")
    (('12', '+', '5', '17'), ('wumpus', 'tumpus'))

    A partial claim has empty slots but for its result: "= 17" gives ('', '', '', '17'). A claim that the
    parser does not know is one label in place of operands and operators.
    """
    parsed = parse_claims(claim)
    return parsed[0].slots if parsed else (claim, claim, claim, result_of(claim))


def part_labels(claims: Iterable[str]) -> list[list[str]]:
    """For each slot the N labels of N claims; "" if a claim of another kind has no such slot."""
    return [list(labels) for labels in zip_longest(*map(parts_of, claims), fillvalue="")]


def probe_steps(
    train: Mapping[Site, Tensor],
    train_claims: Sequence[Sequence[str]],
    test: Mapping[Site, Tensor],
    test_claims: Sequence[Sequence[str]],
) -> dict[Site, list[float]]:
    """Held-out accuracy of each site's probe for each step's result.

    Args:
        train: site -> vectors [N, d] of training traces.
        train_claims: N lists of claims, all of one length.
        test: the same for held-out traces.
        test_claims: their claims.

    Returns:
        site -> accuracy for each step.
    """
    n_steps = len(train_claims[0])
    table: dict[Site, list[float]] = {}
    for site, vectors in train.items():
        table[site] = []
        for step in range(n_steps):
            probe = Probe.fit(vectors, [result_of(claims[step]) for claims in train_claims])
            table[site].append(
                probe.accuracy(test[site], [result_of(claims[step]) for claims in test_claims])
            )
    return table
