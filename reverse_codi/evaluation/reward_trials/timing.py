"""What scoring costs.

Texts a second: batched against one by one, and one reward against five, which share one reading.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.recipe.reward import RewardItem, RewardSection
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.declare import RewardSpec
from reverse_codi.rewards.registry import find_functions
from reverse_codi.rewards.scoring import LocalScorer
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split
from reverse_codi.verbalize.thoughts import thought_sites

# One reward in five forms: what they add is their own work, and none reads more than the batch's texts.
METRICS = ("whitened", "centred_cosine", "mse", "neg_log_mse", "smooth_l1")


@dataclass(frozen=True)
class Timing:
    """One way of scoring.

    Attributes:
        name: what was done.
        texts: how many texts were scored.
        read: how many texts the frozen model read for that.
        seconds: of the fastest round.
    """

    name: str
    texts: int
    read: int
    seconds: float

    @property
    def rate(self) -> float:
        """Texts a second."""
        return self.texts / self.seconds


def make_rows(metric: ThoughtMetric, n: int) -> Candidates:
    """`n` distinct texts of held-out problems: each states a claim about a thought of its problem."""
    reasoner = metric.reader.reasoner
    problems = Arithmetic().problems(Split.HELDOUT, n, seed=0)
    sites = [site for site in thought_sites(reasoner.n_thoughts) if site in metric.maps]
    chosen = [sites[i % len(sites)] for i in range(n)]
    chains = reasoner.think([problem.question for problem in problems])
    at = {site: chains.at(site) for site in sites}
    texts = [f"{problem.claims[0]} so far {i}" for i, problem in enumerate(problems)]
    targets = torch.stack([at[site][i] for i, site in enumerate(chosen)])
    return Candidates(
        texts=texts,
        token_ids=[[0] * len(text.split()) for text in texts],
        questions=[problem.question for problem in problems],
        sites=chosen,
        targets=targets,
        distractors=torch.stack([at[site][[(i + 1) % n]] for i, site in enumerate(chosen)]),
        finished=[True] * n,
    )


def five_rewards() -> list[RewardSpec]:
    """`hidden_match` in each of its metrics."""
    items = [RewardItem(name="hidden_match", options={"metric": metric}) for metric in METRICS]
    return [
        replace(find_functions(RewardSection(functions=[item]))[0], name=metric)
        for item, metric in zip(items, METRICS, strict=True)
    ]


def timed(name: str, texts: int, rounds: int, score: Callable[[], int]) -> Timing:
    """The fastest of some rounds; `score` returns how many texts were read."""
    best, read = float("inf"), 0
    for _ in range(rounds):
        start = time.perf_counter()
        read = score()
        best = min(best, time.perf_counter() - start)
    return Timing(name, texts, read, best)


def measured(metric: ThoughtMetric, rows: Candidates, rounds: int) -> list[Timing]:
    """Each way of scoring the rows."""
    rewards = five_rewards()
    n = len(rows)

    def read(rewards: Sequence[RewardSpec], rows: Candidates) -> int:
        """Score by a new scorer, which has read nothing yet; texts that it read."""
        return LocalScorer(metric, rewards, [1.0] * len(rewards)).score(rows).n_read

    few = range(min(n, 200))  # one by one, a text costs the same whatever their number
    return [
        timed(
            "one reward, one by one",
            len(few),
            rounds,
            lambda: sum(read(rewards[:1], rows.take([i])) for i in few),
        ),
        timed("one reward, batched", n, rounds, lambda: read(rewards[:1], rows)),
        timed("five rewards, batched", n, rounds, lambda: read(rewards, rows)),
        timed(
            "five rewards, each with its own reading",
            n,
            rounds,
            lambda: sum(read([reward], rows) for reward in rewards),
        ),
    ]
