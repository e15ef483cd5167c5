"""One search: texts are written for some training thoughts, and every thought keeps the best of all texts.

A policy that has seen no pair rarely hits on the text of the thought it is asked about: of its first 8 texts
one in ninety, measured on the embedded model. But the 65,000 texts of one search hold nearly every claim
that its thoughts hold, since what is wrong for one thought is right for another. So each thought is compared
with all distinct texts of its site. A text is read once, whatever the number of thoughts it is compared with.

Cost of the comparison for N thoughts and P distinct texts a site: N * P * d products and, in blocks of 1,024
thoughts, 1,024 * P distances. At 7,000 traces, 170,000 texts and width 2,048 these are 2.4e12 products and
700 MB a site; the states of the texts are [P, d] float32, 1.4 GB.

Shapes: N thoughts, P texts, d width.
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
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reinforce import SearchSection
from reverse_codi.rewards.candidates import Candidates, StepTexts
from reverse_codi.rewards.scoring import Scores
from reverse_codi.training.best_texts import BestTexts, Found
from reverse_codi.training.candidate_rows import CandidateRows

log = logging.getLogger(__name__)

# Thoughts that are compared with all texts of their site at once.
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
        sampled: number of texts that were sampled, those that were cut off included.
        policy: version that wrote them; 0 for none.
    """

    texts: Mapping[int, Sequence[str]]
    sampled: int
    policy: int


def drawn(n: int, section: SearchSection, round: int) -> list[int]:
    """The rows of `n` training thoughts that texts are sampled for in one search."""
    if not section.thoughts or section.thoughts >= n:
        return list(range(n))
    return sorted(random.Random(f"{section.seed}/{round}").sample(range(n), section.thoughts))


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
        shortlists = _nearest(_pool(written, before, rows), section.shortlist, rows, metric)
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


def _distinct(texts: Sequence[str]) -> list[str]:
    """The texts that claim something, one for each content."""
    content: dict[object, str] = {}
    for text in texts:
        claims = claimed(text)
        if claims is not None:
            content.setdefault(claims, text)
    return list(content.values())


def _pool(written: Written, before: BestTexts, rows: CandidateRows) -> dict[Site, list[str]]:
    """All distinct texts of each site, those of former searches first, in their own words."""
    pool = before.by_site()
    for owner, texts in written.texts.items():
        pool.setdefault(rows.thoughts.sites[owner], []).extend(texts)
    return {site: _distinct(texts) for site, texts in sorted(pool.items())}


def _nearest(
    pool: Mapping[Site, list[str]], n: int, rows: CandidateRows, metric: ThoughtMetric
) -> dict[int, list[str]]:
    """For each training thought the `n` texts of its site that predict the nearest thoughts."""
    shortlists: dict[int, list[str]] = {}
    thoughts = rows.thoughts
    for site, texts in pool.items():
        if not texts:
            continue
        began = time.perf_counter()
        owners = [row for row, of in enumerate(thoughts.sites) if of == site]
        predicted = metric.predict(texts, [site] * len(texts))
        order = nearest(metric.map_of(site), thoughts.targets[owners], predicted, n)
        for owner, places in zip(owners, order.tolist(), strict=True):
            shortlists[owner] = [texts[place] for place in places]
        log.info(
            f"{site}: {len(owners):,} thoughts compared with {len(texts):,} distinct texts in "
            f"{time.perf_counter() - began:.0f} s"
        )
    return shortlists


def nearest(map_: AffineMap, thoughts: Tensor, predicted: Tensor, n: int) -> Tensor:
    """Of each thought [N, d], the numbers [N, min(n, P)] of the nearest predictions [P, d], nearest first."""
    at = predicted @ map_.whitener.T
    wanted = min(n, len(predicted))
    blocks = (thoughts @ map_.whitener.T).split(BLOCK)
    return torch.cat([torch.cdist(block, at).topk(wanted, largest=False).indices for block in blocks])


def _scored(
    owners: Sequence[int],
    texts: Sequence[str],
    rows: CandidateRows,
    rewards: Scorer,
    tokenizer: PreTrainedTokenizerBase,
    version: int,
) -> tuple[list[float], list[float]]:
    """Combined reward and match of each text, in the given order."""
    step = StepTexts(list(texts), list(owners))
    # Rows of the same text lie together, since each request reads its texts anew.
    order = sorted(range(len(texts)), key=lambda place: (texts[place], owners[place]))
    total, match = [0.0] * len(texts), [0.0] * len(texts)
    for start in range(0, len(order), ROWS):
        places = order[start : start + ROWS]
        asked = [texts[place] for place in places]
        ids = tokenizer(asked, add_special_tokens=False).input_ids
        ended = [[*own, tokenizer.eos_token_id] for own in ids]
        chosen = [owners[place] for place in places]
        batch = rows.of(chosen, asked, ended, [True] * len(asked), version, step)
        scores = rewards.score(batch)
        for place, reward, near in zip(places, scores.total, scores.match, strict=True):
            total[place], match[place] = reward, float("nan") if near is None else near
    return total, match
