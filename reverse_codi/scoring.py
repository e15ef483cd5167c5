"""Scoring candidate texts: read each once, then run every reward function on what was read.

`LocalScorer` does it in this process, `RewardPool` on Ray actors that each hold one `LocalScorer`.

Shapes: N texts, F features, d width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from reverse_codi.reading.measure import Measure
from reverse_codi.reading.reader import CachedReader
from reverse_codi.reading.spec import ReadSpec
from reverse_codi.reasoners.load import load_reasoner, reasoner_folder
from reverse_codi.rewarding import (
    Columns,
    Registered,
    RewardBatch,
    RewardError,
    RewardSection,
    Rows,
    balanced,
    find_functions,
    run_rewards,
    weighted,
)

START_TIMEOUT_S = 600.0
ANSWER_TIMEOUT_S = 5.0
# An actor that dies is restarted and its call repeated by Ray; a text that kills actors must end.
TASK_RETRIES = 2


T = TypeVar("T")


class ScoringError(RuntimeError):
    """Scoring failed for want of a living actor or of time, not because of a text."""


@dataclass(frozen=True)
class Scores:
    """The rewards of N rows.

    Attributes:
        raw: what each function returned, its `worst` for failed rows, None where it did not apply.
        total: weighted sums; a None counts as 0.
        match: `Measure.match` of each row, None for failed rows; always there, for logging.
        scalars: what functions logged, averaged over rows.
        read_s: seconds of reading the texts (the slowest actor's).
        reward_s: seconds of the reward functions, their own readings included (the slowest actor's).
        n_read: distinct texts that the frozen model read, those of reward functions included.
    """

    raw: Columns
    total: list[float]
    match: list[float | None]
    scalars: dict[str, float]
    read_s: float
    reward_s: float
    n_read: int


class LocalScorer:
    """Scores rows in this process.

    Args:
        measure: reads and compares.
        functions: reward functions with their options bound, see `find_functions`.
        weights: one factor a function, in the same order.
    """

    def __init__(self, measure: Measure, functions: Sequence[Registered], weights: Sequence[float]) -> None:
        self.reader = CachedReader(measure.reader)
        self.measure = Measure(self.reader, measure.maps)
        self.functions = list(functions)
        self.weights = {f.name: weight for f, weight in zip(functions, weights, strict=True)}
        self.doing = "nothing"
        """What is under way, for messages about hangs."""

    @classmethod
    def from_section(cls, section: RewardSection, measure: Measure) -> LocalScorer:
        """A scorer with a recipe's functions."""
        return cls(measure, find_functions(section), [item.weight for item in section.functions])

    def score(self, rows: Rows) -> Scores:
        """Read every distinct well-formed text once and reward all rows.

        Raises:
            RewardError: a function broke its contract, or none applies to some row.
        """
        self.reader.clear()
        logged: dict[str, list[float]] = {}
        good = rows.well_formed
        start = time.perf_counter()
        self.doing = f"reading {len(good)} texts"
        batch = self._read(rows, good, lambda name, value: logged.setdefault(name, []).append(float(value)))
        read = time.perf_counter()
        raw = run_rewards(self.functions, batch, self._running)
        done = time.perf_counter()
        self.doing = "nothing"
        match: list[float | None] = [None] * len(rows)
        if good:
            sites = [rows.sites[i] for i in good]
            values = self.measure.match(rows.targets[good], batch.predicted[good], sites).tolist()
            for i, value in zip(good, values, strict=True):
                match[i] = value
        scalars = {name: sum(values) / len(values) for name, values in logged.items()}
        total = weighted(raw, self.weights, rows.texts)
        return Scores(raw, total, match, scalars, read - start, done - read, self.reader.n_read)

    def _read(self, rows: Rows, good: list[int], log: Callable[[str, float], None]) -> RewardBatch:
        """All rows with what was read; failed rows, which no function sees, hold NaN."""
        shown = rows.take(good)
        features = self.measure.reader.features(shown.texts, shown.questions) if good else torch.empty(0, 0)
        states = torch.full((len(rows), features.shape[1]), torch.nan)
        predicted = torch.full_like(rows.targets, torch.nan)
        if good:
            states[good] = features
            predicted[good] = self.measure.apply(features, shown.sites)
        columns = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
        return RewardBatch(**columns, states=states, predicted=predicted, reader=self.measure, log=log)

    def _running(self, name: str) -> None:
        self.doing = f"running reward {name!r}"


class RewardActor:
    """One Ray actor: a frozen reasoner, its maps and a `LocalScorer`.

    Args:
        section: the reward functions.
        reasoner: the reasoner's folder, as in the recipe.
        measure: folder of the maps.
    """

    def __init__(self, section: RewardSection, reasoner: str, measure: str) -> None:
        # More threads than CPUs make torch processes on one machine wait for each other's barriers
        # (20 times slower, field notes).
        torch.set_num_threads(max(1, int(section.cpus_per_actor)))
        device = "cuda" if section.gpus_per_actor > 0 else "cpu"
        loaded = Measure.load(measure, load_reasoner(reasoner, device))
        self.scorer = LocalScorer.from_section(section, loaded)

    def spec(self) -> ReadSpec:
        """How texts are read."""
        return self.scorer.measure.reader.spec

    def score(self, rows: Rows, places: list[int]) -> Scores:
        """Score one share of a step; `places` are its rows' numbers in the step, for errors."""
        try:
            return self.scorer.score(rows)
        except RewardError as error:
            row = None if error.row is None else places[error.row]
            raise RewardError(error.name, error.problem, row, error.text) from error

    def doing(self) -> str:
        """What is under way; answered by a second thread."""
        return self.scorer.doing


class RewardPool:
    """Scores rows on Ray actors.

    Args:
        section: the reward functions, and how many actors score.
        reasoner: the reasoner's folder, as in the recipe.
        measure: folder of the maps.

    Raises:
        RecipeError: no such reward function, or wrong options.
        ScoringError: an actor does not start.
    """

    def __init__(self, section: RewardSection, reasoner: str, measure: str | Path) -> None:
        find_functions(section)  # a wrong name should fail here, not inside an actor
        self.section = section
        # Actors may run in another folder.
        self._arguments = (section, str(reasoner_folder(reasoner).resolve()), str(Path(measure).resolve()))
        self.actors = [self._start() for _ in range(section.actors)]
        starts = {actor.spec.remote(): i for i, actor in enumerate(self.actors)}
        self.spec: ReadSpec = self._results(starts, START_TIMEOUT_S)[0]

    def score(self, rows: Rows) -> Scores:
        """Score rows: equal texts go to one actor, and actors get about equal amounts of text.

        Raises:
            RewardError: a function broke its contract; its `row` counts in `rows`.
            ScoringError: an actor took too long, or kept dying.
        """
        shards = balanced(rows, len(self.actors), self.spec)
        calls = {
            actor.score.remote(ray.put(rows.take(shard)), shard): i
            for i, (actor, shard) in enumerate(zip(self.actors, shards, strict=False))
        }
        return merged(shards, self._results(calls, self.section.timeout_s))

    def close(self) -> None:
        """End the actors."""
        for actor in self.actors:
            ray.kill(actor)
        self.actors = []

    def _start(self) -> Any:
        # Two threads, so that `doing` is answered while `score` runs.
        options = {"max_concurrency": 2, "max_restarts": -1, "max_task_retries": TASK_RETRIES}
        share = {"num_cpus": self.section.cpus_per_actor, "num_gpus": self.section.gpus_per_actor}
        return ray.remote(RewardActor).options(**options, **share).remote(*self._arguments)

    def _results(self, calls: Mapping[Any, int], timeout_s: float) -> list[Any]:
        """Results of one call (key) an actor (value: its number), in the order of the calls."""
        done, late = ray.wait(list(calls), num_returns=len(calls), timeout=timeout_s)
        results = {ref: self._result(ref, calls[ref]) for ref in done}
        if late:
            stuck = ", ".join(self._replaced(calls[ref]) for ref in late)
            mend = "mend the function, or raise timeout_s"
            raise ScoringError(f"not done after {timeout_s:g} s: {stuck}; {mend}")
        return [results[ref] for ref in calls]

    def _result(self, ref: Any, i: int) -> Any:
        try:
            return ray.get(ref)
        except RayTaskError as error:  # the actor lives and its code raised: no use in trying again
            if isinstance(error.cause, RewardError):
                raise error.cause from error
            raise
        except RayError as error:
            problem = f"reward actor {i} died, in {TASK_RETRIES} retries too, or could not start"
            raise ScoringError(f"{problem}: {error}") from error

    def _replaced(self, i: int) -> str:
        """What stuck actor `i` is doing; it is killed and a new one takes its place."""
        doing = self.actors[i].doing.remote()
        answered, _ = ray.wait([doing], timeout=ANSWER_TIMEOUT_S)
        state = self._result(doing, i) if answered else "not answering; are its CPUs and GPUs free?"
        ray.kill(self.actors[i])
        self.actors[i] = self._start()
        return f"reward actor {i} ({state})"


def merged(shares: Sequence[Sequence[int]], parts: Sequence[Scores]) -> Scores:
    """The scores of shares, put back into the order of the rows."""
    order = {row: place for place, row in enumerate(row for share in shares for row in share)}

    def column(values: Iterable[Iterable[T]]) -> list[T]:
        flat = [value for share in values for value in share]
        return [flat[order[row]] for row in range(len(flat))]

    logged: dict[str, list[tuple[float, int]]] = {}
    for share, part in zip(shares, parts, strict=True):
        for name, value in part.scalars.items():
            logged.setdefault(name, []).append((value, len(share)))
    return Scores(
        raw={name: column(part.raw[name] for part in parts) for name in parts[0].raw},
        total=column(part.total for part in parts),
        match=column(part.match for part in parts),
        scalars={k: sum(v * n for v, n in pairs) / sum(n for _, n in pairs) for k, pairs in logged.items()},
        read_s=max(part.read_s for part in parts),
        reward_s=max(part.reward_s for part in parts),
        n_read=sum(part.n_read for part in parts),
    )
