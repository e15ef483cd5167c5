"""Linear probes: which slots of which step can be read at which site.

Probes decide which claims a site's gold text states (`EncodedSteps`, by `read_out`), and whether a reasoner
is worth translating (`Probe`). They are trained on training traces only.

Shapes: N traces, d width, C distinct labels or the length of a label's code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor

from reverse_codi.reading.affine import whitener
from reverse_codi.reading.codes import codes
from reverse_codi.reading.ridge import ridge, standardized
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.claims import parse_claims, result_of


@dataclass(frozen=True)
class Probe:
    """One fitted linear probe: a multinomial logistic regression on standardized vectors.

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


# Ridge strengths of `read_out`, relative to the number of traces; leave-one-out error chooses.
STRENGTHS = (1e-3, 1e-2, 1e-1)
# Share of the traces, at the end, that a `Probe` is scored on.
TEST_SHARE = 0.2


@dataclass(frozen=True)
class ReadOut:
    """Which labels of one slot were read right, each by a probe that had not seen the trace.

    Attributes:
        rows: [M] traces that were scored.
        right: [M] whether the right label was read.
    """

    rows: Tensor
    right: Tensor


def read_out(vectors: Tensor, columns: Sequence[Sequence[str]]) -> list[ReadOut]:
    """Read the labels of each slot off the vectors, by the better of two probes.

    One is a ridge regression to the labels' codes (`reading.codes`), whose nearest label is read; the other a
    `Probe`, which learns each label for itself. Few traces are enough for the first where a model holds
    numbers by their digits and size: of 1,229 traces of the embedded reasoner it reads the worst part of the
    second step at .72 and the other at .63, of 15,943 at .83 and .98. Where each of 650 numbers is a random
    vector of its own, in as much noise, 2,000 traces let the other read .83 and the first .67.

    Time grows with N d^2 for the first and N d C for the second.

    Args:
        vectors: [N, d].
        columns: lists of N labels, one for each slot.
    """
    return [
        _better(by_codes, vectors, labels)
        for by_codes, labels in zip(_by_codes(vectors, columns), columns, strict=True)
    ]


def _by_codes(vectors: Tensor, columns: Sequence[Sequence[str]]) -> list[ReadOut]:
    """Each slot by ridge regression, every trace left out in turn."""
    x = standardized(vectors.double())
    of_label, rows = [], []
    for labels in columns:
        often = Counter(labels)
        place = {label: i for i, label in enumerate(often)}
        of_label.append(codes(often).double())
        rows.append(torch.tensor([place[label] for label in labels]))
    targets = [code[row] for code, row in zip(of_label, rows, strict=True)]
    centred = [target - target.mean(0) for target in targets]
    solved = ridge(x, centred, [strength * len(x) for strength in STRENGTHS])
    return [
        ReadOut(torch.arange(len(x)), _nearest(target, one.left_out, code, row) == row)
        for target, one, code, row in zip(targets, solved, of_label, rows, strict=True)
    ]


def _nearest(targets: Tensor, errors: Tensor, code: Tensor, rows: Tensor) -> Tensor:
    """The likeliest label of each predicted code, as its row in `code`.

    Distances are in the metric of the errors that the other half of the traces has: in the metric of a few
    errors that are its own, each prediction would be nearest to what it misses. How often a label occurs is
    its prior.
    """
    often = (torch.bincount(rows, minlength=len(code)).double() / len(rows)).log()
    found = torch.empty_like(rows)
    for half in (0, 1):
        metric = whitener(errors[1 - half :: 2]).T
        predicted = (targets - errors)[half::2]
        found[half::2] = (torch.cdist(predicted @ metric, code @ metric).square() / 2 - often).argmin(1)
    return found


def _better(by_codes: ReadOut, vectors: Tensor, labels: Sequence[str]) -> ReadOut:
    """By a `Probe`, if that reads more on the same traces."""
    cut = int(len(labels) * (1 - TEST_SHARE))
    read = Probe.fit(vectors[:cut], labels[:cut]).predict(vectors[cut:])
    right = torch.tensor([one == other for one, other in zip(read, labels[cut:], strict=True)])
    if int(right.sum()) <= int(by_codes.right[cut:].sum()):
        return by_codes
    return ReadOut(torch.arange(cut, len(labels)), right)


def above_guessing(right: Tensor, labels: Sequence[str]) -> float:
    """The share of right readings [N] beyond what naming the commonest label gets: 0 is no better, 1 is all.

    A slot that has one label only can always be read: 1.
    """
    commonest = max(Counter(labels).values()) / len(labels)
    return 1.0 if commonest == 1 else (float(right.double().mean()) - commonest) / (1 - commonest)


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
