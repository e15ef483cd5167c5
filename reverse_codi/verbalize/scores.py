"""How good a set of translations is: match, retrieval, content, variety.

Every figure is per thought and is averaged by problem, so that intervals resample problems.
Content is parsed from the text and compared with the gold text's whole list, so naming more numbers
than the thought holds loses.

Shapes: N thoughts, d width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reverse_codi.reading.fit import retrieval
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.recipe.grpo import Keep
from reverse_codi.tasks.claims import PartialClaim, parse_claims
from reverse_codi.tasks.equations import Equation
from reverse_codi.utils.bootstrap import Interval, explained, interval
from reverse_codi.utils.figures import sums
from reverse_codi.verbalize.thoughts import Thoughts

CLIP = -2.0
"""Where a thought's own match is cut."""


@dataclass(frozen=True)
class Scored:
    """Figures a thought.

    Attributes:
        distance: [N] whitened distance of the text's predicted thought.
        to_mean: [N] the same of the site's training mean.
        retrieved: share of thoughts whose own text is the nearest of 64 of the same site.
        result: [N] 1 where the stated results are the gold text's.
        claim: [N] 1 where the stated claims are the gold text's.
        operation: [N] 1 where the stated operations are the gold text's, NaN where a gold claim is partial
            ("= 17") and leaves them open; [0] where no gold text states any.
        texts: the translations.
    """

    distance: Tensor
    to_mean: Tensor
    retrieved: float
    result: Tensor
    claim: Tensor
    operation: Tensor
    texts: list[str]

    @property
    def match(self) -> float:
        """1 - sum of distances / sum of distances to the mean."""
        return float(1 - self.distance.sum() / self.to_mean.sum())

    @property
    def clipped(self) -> Tensor:
        """[N] each thought's own match, cut as the reward is, so that no single text decides a mean."""
        return (1 - self.distance / self.to_mean).clamp(min=CLIP)

    @property
    def content_each(self) -> Tensor:
        """[N] mean of exact results, claims and operations, if any."""
        if not len(self.operation):
            return (self.result + self.claim) / 2
        return torch.stack([self.result, self.claim, self.operation]).nanmean(0)

    @property
    def content(self) -> float:
        """What checkpoints are kept by: the mean of `content_each`."""
        return float(self.content_each.mean())

    def worth(self, keep: Keep, when: int) -> float:
        """What a policy is kept by; `when` is the step or stage that wrote the texts."""
        return {"content": self.content, "match": self.match, "last": float(when)}[keep]

    @property
    def distinct(self) -> float:
        """Distinct texts / texts."""
        return len(set(self.texts)) / len(self.texts)

    @property
    def top_share(self) -> float:
        """Share of the most frequent text."""
        return Counter(self.texts).most_common(1)[0][1] / len(self.texts)

    def summary(self) -> dict[str, float]:
        """All figures as plain numbers."""
        operation = {"operation": float(self.operation.nanmean())} if len(self.operation) else {}
        return {
            "match": self.match,
            "retrieval": self.retrieved,
            "result": float(self.result.mean()),
            "claim": float(self.claim.mean()),
            **operation,
            "distinct": self.distinct,
            "top_share": self.top_share,
        }


def _content(text: str) -> tuple[list[str], list[str], list[list[str]]]:
    parsed = parse_claims(text)
    return (
        [t.result for t in parsed],
        [t.claim for t in parsed],
        [list(t.operators) for t in parsed if isinstance(t, Equation)],
    )


def score(thoughts: Thoughts, texts: Sequence[str], metric: ThoughtMetric) -> Scored:
    """Read the texts and compare them with thoughts and gold texts."""
    predicted = metric.predict(texts, thoughts.sites, thoughts.questions)
    hits = []
    for site in sorted(set(thoughts.sites)):
        rows = [i for i, s in enumerate(thoughts.sites) if s == site]
        if len(rows) >= 64:
            hits.append(retrieval(metric.map_of(site), thoughts.targets[rows], predicted[rows]))
    stated = [_content(text) for text in texts]
    gold = [_content(text) for text in thoughts.gold]
    same = torch.tensor([[s[i] == g[i] for i in range(3)] for s, g in zip(stated, gold, strict=True)]).float()
    open_ = [any(isinstance(claim, PartialClaim) for claim in parse_claims(text)) for text in thoughts.gold]
    operation = same[:, 2].masked_fill(torch.tensor(open_, dtype=torch.bool), torch.nan)
    return Scored(
        distance=metric.distance(thoughts.targets, predicted, thoughts.sites),
        to_mean=metric.distance_to_mean(thoughts.targets, thoughts.sites),
        retrieved=float(np.mean(hits)) if hits else 0.0,
        result=same[:, 0],
        claim=same[:, 1],
        operation=operation if any(operators for *_, operators in gold) else torch.empty(0),
        texts=list(texts),
    )


def match_gain(before: Scored, after: Scored, problems: Sequence[int]) -> Interval:
    """Match after minus before, paired bootstrap by problem; without width where every text is the same."""
    table = sums([after.distance - before.distance, after.to_mean], problems)
    return interval(table, lambda rows: explained(rows) - 1)
