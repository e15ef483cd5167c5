"""Is a text nearer to its own thought than to others, and nearer than texts that are almost right?

A match alone is won by templates that fit every thought a little (NLA, fixed by a
contrast). Two parts, each `1 + log p / log n`, where p is the softmax over -distance / temperature
of the true one among n: 1 is certain, 0 is chance, whatever n.

Shapes: N texts, M distractors, d width.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from reverse_codi import RewardBatch, reward
from reverse_codi.reading.edits import number_changed, result_swapped, shuffled
from reverse_codi.utils.config import Section

# Both parts are clipped here, where p = 1 / n^2: as far below chance as certainty is above it. So a
# failed text is never better than one that was read and found wrong.
WORST = -1.0


class Contrastive(Section):
    """Options of `contrastive`."""

    thought_weight: float = Field(default=1.0, ge=0)
    """Weight of the contrast with other thoughts."""
    text_weight: float = Field(default=1.0, ge=0)
    """Weight of the contrast with near-miss texts; 0 spares their reading."""
    against: Literal["distractors", "step"] = "distractors"
    """Other thoughts: `grpo.distractors` random ones, or all of the same site in the step. Neither costs a
    reading."""
    temperature: float = Field(default=0.2, gt=0)
    """In units of the whitened distance per dimension. The prototype's gold texts lie near 0.5 and
    unrelated ones 1 to 2 further, so 0.2 gives several nats and does not saturate at once."""
    near_misses: int = Field(default=4, ge=1)
    """Near-miss texts made of each text; each costs a reading."""

    @model_validator(mode="after")
    def _some_part(self) -> Contrastive:
        if self.thought_weight + self.text_weight == 0:
            raise ValueError("thought_weight and text_weight are both 0; give one a value")
        return self


@reward(worst=WORST)
def contrastive(batch: RewardBatch, config: Contrastive) -> list[float | None]:
    """Log-probability of the own thought among others, and of the own text among near misses."""
    total = torch.zeros(len(batch))
    if config.thought_weight:
        distances = thought_distances(batch) if config.against == "distractors" else step_distances(batch)
        batch.log("thought_top1", _top1(distances))
        total += config.thought_weight * _above_chance(distances, config.temperature)
    if config.text_weight:
        distances = text_distances(batch, config.near_misses)
        batch.log("text_top1", _top1(distances))
        total += config.text_weight * _above_chance(distances, config.temperature)
    values: list[float | None] = (total / (config.thought_weight + config.text_weight)).tolist()
    return values


def thought_distances(batch: RewardBatch) -> Tensor:
    """From each text's prediction to its own thought and the distractors, [N, 1 + M]."""
    thoughts = torch.cat([batch.targets[:, None], batch.distractors], 1)  # [N, 1 + M, d]
    n = thoughts.shape[1]
    predicted = batch.predicted.repeat_interleave(n, 0)  # [N * (1 + M), d]
    sites = [site for site in batch.sites for _ in range(n)]
    return batch.metric.distance(thoughts.flatten(0, 1), predicted, sites).view(-1, n)


def step_distances(batch: RewardBatch) -> Tensor:
    """From each text's prediction to its own thought and all others of its site in the step, [N, 1 + T].

    inf: a thought of another site, or its own again. Every actor has all thoughts of the step, so it does
    not matter how rows are shared out.
    """
    own = batch.metric.distance(batch.targets, batch.predicted, batch.sites)
    others = torch.full((len(batch), len(batch.step.sites)), torch.inf)
    for site in set(batch.sites):
        rows = [row for row, other in enumerate(batch.sites) if other == site]
        columns = [column for column, other in enumerate(batch.step.sites) if other == site]
        fitted = batch.metric.map_of(site)
        found = fitted.distances(batch.step.targets[columns], batch.predicted[rows])
        others[torch.tensor(rows)[:, None], torch.tensor(columns)] = found
    places = batch.step.places()
    others[torch.arange(len(batch)), torch.tensor([places[number] for number in batch.thoughts])] = torch.inf
    return torch.cat([own[:, None], others], 1)


def text_distances(batch: RewardBatch, n: int) -> Tensor:
    """To each thought from its own text's prediction and near misses', [N, 1 + n]; inf: no such miss."""
    misses = [near_misses(text, n) for text in batch.texts]
    distances = torch.full((len(batch), 1 + n), torch.inf)
    distances[:, 0] = batch.metric.distance(batch.targets, batch.predicted, batch.sites)
    places = [(row, 1 + i) for row, texts in enumerate(misses) for i in range(len(texts))]
    if places:
        rows, columns = [row for row, _ in places], [column for _, column in places]
        sites, questions = [batch.sites[row] for row in rows], [batch.questions[row] for row in rows]
        predicted = batch.metric.predict([text for texts in misses for text in texts], sites, questions)
        distances[rows, columns] = batch.metric.distance(batch.targets[rows], predicted, sites)
    return distances


def _above_chance(distances: Tensor, temperature: float) -> Tensor:
    """1 + log p / log n of the first of the n distances [N, *] below inf, clipped; chance if n = 1."""
    n = (~distances.isinf()).sum(1)  # NaN counts: it must reach the check of returned values
    log_p = torch.log_softmax(-distances / temperature, 1)[:, 0]
    return torch.where(n == 1, log_p, 1 + log_p / n.log()).clamp(min=WORST)


def _top1(distances: Tensor) -> float:
    """How often the first is the nearest."""
    return (distances.argmin(1) == 0).float().mean().item()


def near_misses(text: str, n: int) -> list[str]:
    """Up to `n` distinct texts other than `text`, three kinds in turn; seeded by the text.

    >>> near_misses("12 + 5 = 17", 3)
    ['15 + 5 = 17', '12 + 17 = 5', '+ 5 17 = 12']
    """
    text = text.strip()  # as the reader does: what reads the same has the same near misses
    rng = random.Random(text)  # the same in every process, which hash() is not
    kinds: tuple[Callable[[str, random.Random], str], ...] = (number_changed, result_swapped, shuffled)
    found = {tuple(text.split()): text}
    for attempt in range(4 * n):  # a text of one word has none; stop looking
        if len(found) > n:
            break
        candidate = kinds[attempt % len(kinds)](text, rng)
        found.setdefault(tuple(candidate.split()), candidate)
    return list(found.values())[1:]
