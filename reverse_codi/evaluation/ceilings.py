"""`reverse-codi ceilings [RECIPE]`: how well thoughts can be read at all, in one guess.

Probes with labels, linear and with a hidden layer, read hidden states and latent inputs; they are trained on
the recipe's training traces. A translation of a single thought cannot be expected to state what they cannot
read.

* `step_result.K`: the gold result of intermediate step K, off the thought of that step, right traces.
* `wrong`: the model's own wrong answer, off the thought of the last step, wrong traces.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverse_codi.evaluation.suite.content import STEPS
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.claims import result_of
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils import figures
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.console import progress

STEPS_OF_SGD, BATCH, RATE = 4_000, 512, 3e-3
# Name of a probe -> width of its hidden layer, 0 for none.
PROBES = {"linear": 0, "hidden": 256}
# Wrong answers are rare, and the only ones where thinking and solving part.
WRONG_WEIGHT = 8.0


@dataclass(frozen=True)
class ProbedStep:
    """Labelled thoughts of one site.

    Attributes:
        site: which thought.
        rows: its traces.
        labels: a label for each.
        weights: how often each is drawn in training, relative to the others.
    """

    site: Site
    rows: list[int]
    labels: list[str]
    weights: list[float]


def intermediate(traces: TraceStore, step: int) -> ProbedStep:
    """Results of step `step` (from 0) of right traces that go on after it."""
    rows = [row for row, c in enumerate(traces.claims) if len(c) > step + 1 and traces.correct[row]]
    labels = [result_of(traces.claims[row][step]) for row in rows]
    return ProbedStep(Site("h", step), rows, labels, [1.0] * len(rows))


def answered(traces: TraceStore, n_steps: int, wrong_only: bool) -> ProbedStep:
    """The answers that traces of `n_steps` steps gave, off the thought of the last step."""
    rows = [
        row
        for row, claims in enumerate(traces.claims)
        if len(claims) == n_steps and traces.answers[row] and not (wrong_only and traces.correct[row])
    ]
    weights = [1.0 if traces.correct[row] else WRONG_WEIGHT for row in rows]
    return ProbedStep(Site("h", n_steps - 1), rows, [str(traces.answers[row]) for row in rows], weights)


def probe_hits(
    train: tuple[Tensor, ProbedStep], test: tuple[Tensor, ProbedStep], hidden: int, seed: int
) -> list[float]:
    """For each test row, 1 where a probe of [N, d] vectors gives its label.

    Args:
        train: vectors and labels.
        test: the same, held out.
        hidden: width of the probe's hidden layer, 0 for a linear one.
        seed: of weights and batches.
    """
    (x, asked), (y, wanted) = train, test
    names = {name: i for i, name in enumerate(sorted(set(asked.labels)))}
    target = torch.tensor([names[label] for label in asked.labels])
    mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
    x, y = (x - mean) / deviation, (y - mean) / deviation
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        width, classes = x.shape[1], len(names)
        probe: nn.Module = nn.Linear(width, classes)
        if hidden:
            probe = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, classes))
        optimizer = torch.optim.AdamW(probe.parameters(), lr=RATE, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS_OF_SGD)
        weights = torch.tensor(asked.weights)
        for _ in range(STEPS_OF_SGD):
            batch = torch.multinomial(weights, BATCH, replacement=True)
            loss = F.cross_entropy(probe(x[batch]), target[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            guesses = probe(y).argmax(-1).tolist()
    known = list(names)
    return [float(known[guess] == label) for guess, label in zip(guesses, wanted.labels, strict=True)]


def ceilings(train: TraceStore, test: TraceStore, n_thoughts: int, seed: int = 0) -> dict[str, Interval]:
    """`step_result.K` and `wrong`, each by `linear` and `hidden` probes of h and of z."""
    groups: dict[str, list[tuple[ProbedStep, ProbedStep]]] = {
        f"step_result.{step + 1}": [(intermediate(train, step), intermediate(test, step))]
        for step in range(min(STEPS, n_thoughts))
    }
    lengths = range(1, n_thoughts + 1)
    groups["wrong"] = [(answered(train, n, False), answered(test, n, True)) for n in lengths]
    usable = {name: [(a, b) for a, b in pairs if a.rows and b.rows] for name, pairs in groups.items()}
    probes = [(kind, name, hidden) for kind in ("h", "z") for name, hidden in PROBES.items()]
    found = {}
    with progress("probes", len(probes) * sum(map(len, usable.values()))) as advance:
        for name, pairs in usable.items():
            for kind, probe, hidden in probes:
                hits: list[float] = []
                for one, other in pairs:
                    site = Site("h", one.site.index) if kind == "h" else Site("z", one.site.index)
                    vectors = train.vectors(site)[one.rows], test.vectors(site)[other.rows]
                    hits += probe_hits((vectors[0], one), (vectors[1], other), hidden, seed)
                    advance(1)
                found[f"{name}.{kind}.{probe}"] = figures.share(hits, range(len(hits)))
    return found
