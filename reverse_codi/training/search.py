"""One search: texts are written for some training thoughts, and every thought keeps the best of all texts.

A policy that has seen no pair rarely hits on the text of the thought it is asked about: of its first 8
texts one in ninety, measured on the embedded model. But the 65,000 texts of one search hold nearly every
claim that the thoughts hold, since what is wrong for one thought is right for another. So each thought is
compared with all distinct texts, also with those that were written for another site. A text is read once,
whatever the number of thoughts it is compared with.

Cost of the comparison for N thoughts in all, P distinct texts, K sites and width d: K * P * F * d products
for the maps and N * P * d for the distances. At 42,000 thoughts (7,000 traces of 6), 100,000 texts and
width 2,048 the distances are 8.6e12 products. Texts are read and forgotten in blocks, so memory holds the
thoughts, one block of read states [1,024, F] and one of distances, [1,024, 1,024].

Shapes: N thoughts, P texts, F features, d width.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.claims import claimed
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.recipe.reinforce import SearchSection
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.scoring import Scores
from reverse_codi.training.best_texts import BestTexts, Found
from reverse_codi.training.candidate_rows import CandidateRows
from reverse_codi.utils.console import progress

log = logging.getLogger(__name__)

# Thoughts and texts that are compared at once.
BLOCK = 1024
# Rows that the reward actors get at once; each holds the vectors of its distractors.
ROWS = 8192


class Scorer(Protocol):
    """Rewards rows: the pool of reward actors."""

    def score(self, rows: Candidates) -> Scores:
        """The rewards of all rows."""
        ...


@dataclass(frozen=True)
class Written:
    """What was written for some thoughts.

    Attributes:
        texts: training thought -> its texts, of which none was cut off.
        policy: version that wrote them; 0 for none.
    """

    texts: Mapping[int, Sequence[str]]
    policy: int


def drawn(n: int, section: SearchSection, number: int) -> list[int]:
    """The rows of `n` training thoughts that texts are sampled for in stage `number` of a run."""
    if not section.thoughts or section.thoughts >= n:
        return list(range(n))
    return sorted(random.Random(f"{section.seed}/{number}").sample(range(n), section.thoughts))


def search(
    written: Written,
    before: BestTexts,
    section: SearchSection,
    rows: CandidateRows,
    metric: ThoughtMetric,
    rewards: Scorer,
    tokenizer: PreTrainedTokenizerBase,
) -> list[Found]:
    """The best texts of every training thought among all that were written, in this search and before.

    Only texts that make a claim or are "(no step)" are kept: a text without a claim comes nearest to thoughts
    that hold nothing (`reading.best_of`).

    Args:
        written: the new texts.
        before: what former searches kept.
        section: how many texts are scored and kept.
        rows: the training thoughts.
        metric: reads texts for the shortlist.
        rewards: score what is on it.
        tokenizer: the verbalizer's.
    """
    if section.shortlist:
        shortlists = _nearest(_pool(written, before), section.shortlist, rows, metric)
    else:
        shortlists = {owner: _distinct(texts) for owner, texts in written.texts.items()}
    owners = [owner for owner, texts in shortlists.items() for _ in texts]
    texts = [text for own in shortlists.values() for text in own]
    if not texts:
        return []
    total, match = _scored(owners, texts, rows, rewards, tokenizer, written.policy)
    number = before.searches + 1
    found: list[Found] = []
    start = 0
    for owner, own in shortlists.items():
        order = sorted(range(start, start + len(own)), key=lambda place: -total[place])
        start += len(own)
        for rank, place in enumerate(order[: section.keep]):
            # A text that leads has its distance to the next; one that does not, its distance to the first.
            other = order[0] if rank else order[1] if len(order) > 1 else None
            lead = total[place] - total[other] if other is not None else float("inf")
            site = str(rows.thoughts.sites[owner])
            found.append(
                Found(owner, site, texts[place], total[place], match[place], lead, number, written.policy)
            )
    return found


def coverage(written: Written, gold: Sequence[str]) -> dict[str, float]:
    """What the texts of one search could give at best; only logged, since it looks at gold texts.

    Args:
        written: the texts.
        gold: the gold text of every training thought.

    Returns:
        `texts/claiming`, the share of finished texts that make a claim; `texts/distinct`, their different
        claims; `texts/own`, the share of thoughts with their gold claims among their own texts;
        `texts/covered`, the share of all training thoughts with theirs among all texts.
    """
    content = {text: claimed(text) for text in {text for texts in written.texts.values() for text in texts}}
    claims = {owner: [content[text] for text in texts] for owner, texts in written.texts.items()}
    every = [claim for own in claims.values() for claim in own]
    distinct = {claim for claim in every if claim is not None}
    wanted = [claimed(text) for text in gold]
    return {
        "texts/claiming": sum(claim is not None for claim in every) / max(1, len(every)),
        "texts/distinct": float(len(distinct)),
        "texts/own": sum(wanted[owner] in own for owner, own in claims.items()) / max(1, len(claims)),
        "texts/covered": sum(claim in distinct for claim in wanted) / len(wanted),
    }


def _distinct(texts: Sequence[str]) -> list[str]:
    """The texts that claim something, one for each content."""
    content: dict[object, str] = {}
    for text in dict.fromkeys(texts):
        claims = claimed(text)
        if claims is not None:
            content.setdefault(claims, text)
    return list(content.values())


def _pool(written: Written, before: BestTexts) -> list[str]:
    """All distinct texts, those of former searches first, in their own words."""
    new = (text for texts in written.texts.values() for text in texts)
    return _distinct([*(found.text for found in before.found), *new])


def _nearest(pool: Sequence[str], n: int, rows: CandidateRows, metric: ThoughtMetric) -> dict[int, list[str]]:
    """For each training thought the `n` texts that predict the nearest thoughts at its site."""
    thoughts = rows.thoughts
    began = time.perf_counter()
    owners = {site: [row for row, of in enumerate(thoughts.sites) if of == site] for site in metric.sites}
    nearest = {
        site: Nearest(metric.map_of(site), thoughts.targets[own], n) for site, own in owners.items() if own
    }
    with progress("texts compared", len(pool)) as advance:
        for start in range(0, len(pool), BLOCK):
            block = pool[start : start + BLOCK]
            features = metric.reader.features(block)
            for of_site in nearest.values():
                of_site.add(features)
            advance(len(block))
    log.info(
        f"{len(thoughts):,} thoughts compared with {len(pool):,} distinct texts in "
        f"{time.perf_counter() - began:.0f} s"
    )
    return {
        owner: [pool[place] for place in places]
        for site, of_site in nearest.items()
        for owner, places in zip(owners[site], of_site.places.tolist(), strict=True)
    }


class Nearest:
    """The nearest texts of each thought of one site, among texts that come block by block.

    Args:
        map_: of the site.
        thoughts: [N, d].
        n: number of texts a thought.

    Attributes:
        places: [N, <= n] numbers of the texts in the order in which they came, nearest first.
    """

    def __init__(self, map_: AffineMap, thoughts: Tensor, n: int) -> None:
        self.map = map_
        self.n = n
        self.thoughts = thoughts @ map_.whitener.T
        self.places = torch.empty(len(thoughts), 0, dtype=torch.long)
        self._distances = torch.empty(len(thoughts), 0)
        self._seen = 0

    def add(self, features: Tensor) -> None:
        """Look at the texts of read states [P, F]."""
        predicted = self.map.predict(features) @ self.map.whitener.T  # [P, d]
        numbers = self._seen + torch.arange(len(predicted))
        self._seen += len(predicted)
        places, distances = [], []
        for rows in torch.arange(len(self.thoughts)).split(BLOCK):
            near = torch.cdist(self.thoughts[rows], predicted)  # [<= BLOCK, P]
            near = torch.cat([self._distances[rows], near], 1)
            known = torch.cat([self.places[rows], numbers.expand(len(rows), -1)], 1)
            best = near.topk(min(self.n, near.shape[1]), largest=False)
            distances.append(best.values)
            places.append(known.gather(1, best.indices))
        self.places, self._distances = torch.cat(places), torch.cat(distances)


def _scored(
    owners: Sequence[int],
    texts: Sequence[str],
    rows: CandidateRows,
    rewards: Scorer,
    tokenizer: PreTrainedTokenizerBase,
    version: int,
) -> tuple[list[float], list[float]]:
    """Combined reward and match of each text, in the given order; each request is a step of its own."""
    total: list[float] = []
    match: list[float] = []
    with progress("texts rewarded", len(texts)) as advance:
        for start in range(0, len(texts), ROWS):
            asked = texts[start : start + ROWS]
            ids = tokenizer(list(asked), add_special_tokens=False).input_ids
            ended = [[*own, tokenizer.eos_token_id] for own in ids]
            batch = rows.of(owners[start : start + ROWS], asked, ended, [True] * len(asked), version)
            scores = rewards.score(batch)
            total += scores.total
            match += [float("nan") if near is None else near for near in scores.match]
            advance(len(asked))
    return total, match
