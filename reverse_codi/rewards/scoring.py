"""Scoring candidate texts: read each once, then run every reward function on what was read.

`LocalScorer` does it in this process, `reward_pool` on Ray actors that each hold one `LocalScorer`.

Shapes: N texts, F features, d width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.shared import SharedReader
from reverse_codi.recipe.reward import RewardItem, RewardSection
from reverse_codi.rewards.batch import Columns, RewardBatch
from reverse_codi.rewards.calls import run_rewards
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.combining import Combination
from reverse_codi.rewards.declare import RewardSpec
from reverse_codi.rewards.registry import find_functions

T = TypeVar("T")

# What a scorer keeps of the texts that it has read: those that one of the last requests asked for. Steps meet
# some texts again, nearly all of them soon, and the requests of one search nearly all. With four points and
# all layers the bytes are 140,000 texts of the embedded model, and 1,900 at width 2,048 with 17 layers.
KEPT_REQUESTS, KEPT_BYTES = 4, 2**30
IDLE = "nothing"
"""What a scorer does between requests."""


@dataclass(frozen=True, kw_only=True)
class PartialScores:
    """The rewards of N rows, one column a function.

    Attributes:
        raw: what each function returned, its `worst` for failed rows, None where it did not apply. If it
            declares no `worst`, its failed rows are None in a part of a step, and the step's least value in
            `Scores`.
        match: `ThoughtMetric.match` of each row, None for failed rows; always there, for logging.
        scalars: what functions logged, averaged over rows.
        read_s: seconds of reading the texts (the slowest actor's).
        reward_s: seconds of the reward functions, their own readings included (the slowest actor's).
        n_read: distinct texts that the frozen model read, those of reward functions included, without those
            that it had read before.
    """

    raw: Columns
    match: list[float | None]
    scalars: dict[str, float]
    read_s: float
    reward_s: float
    n_read: int


@dataclass(frozen=True, kw_only=True)
class Scores(PartialScores):
    """The rewards of N rows, each apart and all together.

    Attributes:
        columns: of each reward what counts: gated and normalised.
        weights: of each reward at this step.
        total: weighted sums of the columns; a None counts as 0.
    """

    columns: Columns
    weights: dict[str, float]
    total: list[float]

    @classmethod
    def of(cls, share: PartialScores, combination: Combination, rows: Candidates, step: int) -> Scores:
        """Combine the rewards of all rows of a step."""
        merged = {field.name: getattr(share, field.name) for field in fields(share)}
        combined = combination(share.raw, rows, step)
        merged |= {"raw": combined.raw, "scalars": share.scalars | combined.figures}
        return cls(**merged, columns=combined.columns, weights=combined.weights, total=combined.total)


class LocalScorer:
    """Scores rows in this process.

    Args:
        metric: reads and compares.
        functions: reward functions with their options bound, see `find_functions`.
        weights: of each function, in the same order, a factor or all that a recipe says of it.
    """

    def __init__(
        self, metric: ThoughtMetric, functions: Sequence[RewardSpec], weights: Sequence[float | RewardItem]
    ) -> None:
        asked = dict.fromkeys(function.layers for function in functions if function.layers)
        self.reader = SharedReader(metric.reader, asked)
        self.metric = ThoughtMetric(self.reader, metric.maps)
        self.functions = list(functions)
        self.combination = Combination(functions, weights)
        self.doing = IDLE
        """What is under way, for messages about hangs."""

    @classmethod
    def from_section(cls, section: RewardSection, metric: ThoughtMetric, root: str = "") -> LocalScorer:
        """A scorer with a recipe's functions; `root` as in `find_functions`."""
        return cls(metric, find_functions(section, root), section.functions)

    def score(self, rows: Candidates, step: int = 0) -> Scores:
        """Read every distinct well-formed text of a step once and reward all rows.

        Args:
            rows: all of the step's.
            step: optimizer steps done, for weights that change.

        Raises:
            RewardError: a function returned what it may not, or none applies to some row.
        """
        return Scores.of(self.share(rows), self.combination, rows, step)

    def share(self, rows: Candidates) -> PartialScores:
        """Read and reward rows that may be a part of a step; combining them takes the whole.

        What the last requests have read is not read again, see `KEPT_REQUESTS`.
        """
        self.reader.forget(KEPT_REQUESTS, KEPT_BYTES)
        read_before = self.reader.n_read
        logged: dict[str, list[float]] = {}
        good = rows.well_formed
        start = time.perf_counter()
        self.doing = f"reading {len(good)} texts"
        batch = self._read(rows, good, partial(_record, logged))
        read = time.perf_counter()
        match: list[float | None] = [None] * len(rows)
        if good:
            sites = [rows.sites[i] for i in good]
            values = self.metric.match(rows.targets[good], batch.predicted[good], sites).tolist()
            for i, value in zip(good, values, strict=True):
                match[i] = value
        raw = run_rewards(self.functions, batch, self._running)
        done = time.perf_counter()
        self.doing = IDLE
        return PartialScores(
            raw=raw,
            match=match,
            scalars={name: sum(values) / len(values) for name, values in logged.items()},
            read_s=read - start,
            reward_s=done - read,
            n_read=self.reader.n_read - read_before,
        )

    def _read(self, rows: Candidates, good: list[int], log: Callable[[str, float], None]) -> RewardBatch:
        """All rows with what was read; failed rows, which no function sees, hold NaN."""
        shown = rows.take(good)
        features = self.reader.features(shown.texts, shown.questions) if good else torch.empty(0, 0)
        asked = any(function.layers for function in self.functions)  # else they would double the memory
        layers = self.reader.layers(shown.texts, shown.questions) if good and asked else {}
        predicted = self.metric.apply(features, shown.sites)

        def among_all(values: Tensor, width: Sequence[int]) -> Tensor:
            out = torch.full((len(rows), *width), torch.nan)
            if good:
                out[good] = values
            return out

        columns = {field.name: getattr(rows, field.name) for field in fields(rows)}
        return RewardBatch(
            **columns,
            states=among_all(features, features.shape[1:]),
            predicted=among_all(predicted, rows.targets.shape[1:]),
            metric=self.metric,
            log=log,
            layers={layer: among_all(states, states.shape[1:]) for layer, states in layers.items()},
        )

    def _running(self, names: list[str]) -> None:
        self.doing = f"running reward {', '.join(map(repr, names))}"


def _record(logged: dict[str, list[float]], name: str, value: float) -> None:
    """Keep a scalar that a function logs."""
    logged.setdefault(name, []).append(value)


def merged(shares: Sequence[Sequence[int]], parts: Sequence[PartialScores]) -> PartialScores:
    """The rewards of shares, put back into the order of the rows."""
    order = {row: place for place, row in enumerate(row for share in shares for row in share)}

    def column(values: Iterable[Iterable[T]]) -> list[T]:
        flat = [value for share in values for value in share]
        return [flat[order[row]] for row in range(len(flat))]

    logged: dict[str, list[tuple[float, int]]] = {}
    for share, part in zip(shares, parts, strict=True):
        for name, value in part.scalars.items():
            logged.setdefault(name, []).append((value, len(share)))
    return PartialScores(
        raw={name: column(part.raw[name] for part in parts) for name in parts[0].raw},
        match=column(part.match for part in parts),
        scalars={k: sum(v * n for v, n in pairs) / sum(n for _, n in pairs) for k, pairs in logged.items()},
        read_s=max(part.read_s for part in parts),
        reward_s=max(part.reward_s for part in parts),
        n_read=sum(part.n_read for part in parts),
    )
