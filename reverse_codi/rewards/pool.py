"""Scoring on Ray actors: each holds one `LocalScorer` and rewards a share of a step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.load import load_reasoner, reasoner_folder
from reverse_codi.recipe.reading import ReadSpec
from reverse_codi.recipe.reward import RewardSection
from reverse_codi.rewards.batch import RewardError
from reverse_codi.rewards.candidates import Candidates, balanced
from reverse_codi.rewards.combining import Combination
from reverse_codi.rewards.registry import find_functions
from reverse_codi.rewards.scoring import LocalScorer, PartialScores, Scores, merged
from reverse_codi.utils.config import UserError
from reverse_codi.utils.memory import Peak, peak
from reverse_codi.utils.user_code import innermost, is_installed

START_TIMEOUT_S = 600.0
ANSWER_TIMEOUT_S = 5.0
# An actor that dies is restarted and its call repeated by Ray; a text that kills actors must end.
TASK_RETRIES = 2


class ScoringError(UserError):
    """Scoring failed for want of a living actor or of time, not because of a text."""


@contextmanager
def by_value(section: RewardSection) -> Iterator[None]:
    """Send functions that a recipe holds to actors whole, not as names of modules to import there.

    An actor would not find the module of a script, a notebook or a test. What is installed it finds.
    """
    functions = [item.name for item in section.functions if not isinstance(item.name, str)]
    modules = {innermost(function).__module__ for function in functions}
    own = [module for name in modules if (module := sys.modules.get(name)) and not is_installed(module)]
    fresh = [m for m in own if m.__name__ not in ray.cloudpickle.list_registry_pickle_by_value()]
    for module in fresh:
        ray.cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in fresh:
            ray.cloudpickle.unregister_pickle_by_value(module)


class RewardActor:
    """One Ray actor: a frozen reasoner, its maps and a `LocalScorer`.

    Args:
        section: the reward functions.
        reasoner: the reasoner's folder, as in the recipe.
        metric: folder of the maps.
        root: the driver's working directory, which paths of reward files are relative to.
    """

    def __init__(self, section: RewardSection, reasoner: str, metric: str, root: str) -> None:
        # More threads than CPUs make torch processes on one machine wait for each other's barriers
        # (20 times slower, measured).
        torch.set_num_threads(max(1, int(section.cpus_per_actor)))
        device = "cuda" if section.gpus_per_actor > 0 else "cpu"
        loaded = ThoughtMetric.load(metric, load_reasoner(reasoner, device))
        self.scorer = LocalScorer.from_section(section, loaded, root)

    def spec(self) -> ReadSpec:
        """How texts are read."""
        return self.scorer.metric.reader.spec

    def share(self, rows: Candidates, places: list[int]) -> PartialScores:
        """Reward one share of a step; `places` are its rows' numbers in the step, for errors."""
        try:
            return self.scorer.share(rows)
        except RewardError as error:
            row = None if error.row is None else places[error.row]
            raise RewardError(error.name, error.problem, row, error.text) from error

    def doing(self) -> str:
        """What is under way; answered by a second thread."""
        return self.scorer.doing

    def peak(self) -> Peak:
        """What this process has taken so far."""
        return peak()


class RewardPool:
    """Scores rows on Ray actors.

    Args:
        section: the reward functions, and how many actors score.
        reasoner: the reasoner's folder, as in the recipe.
        metric: folder of the maps.
        place: the `scheduling_strategy` of actor i; by default Ray decides.

    Raises:
        RecipeError: no such reward function, or wrong options.
        ScoringError: an actor does not start.
    """

    def __init__(
        self,
        section: RewardSection,
        reasoner: str,
        metric: str | Path,
        place: Callable[[int], Any] | None = None,
    ) -> None:
        functions = find_functions(section)  # a wrong name should fail here, not inside an actor
        self.section = section
        self._place = place
        self.combination = Combination(functions, section.functions)
        # Actors may run in another folder.
        folders = (reasoner_folder(reasoner), Path(metric), Path.cwd())
        self._arguments = (section, *(str(folder.resolve()) for folder in folders))
        self.actors = [self._start(i) for i in range(section.actors)]
        starts = {actor.spec.remote(): i for i, actor in enumerate(self.actors)}
        self.spec: ReadSpec = self._results(starts, START_TIMEOUT_S)[0]

    def score(self, rows: Candidates, step: int = 0) -> Scores:
        """Score a step: equal texts go to one actor, and actors get about equal amounts of text.

        Args:
            rows: all of the step's.
            step: optimizer steps done, for weights that change.

        Raises:
            RewardError: a function returned what it may not; its `row` counts in `rows`.
            ScoringError: an actor took too long, or kept dying.
        """
        shards = balanced(rows, len(self.actors), self.spec)
        calls = {
            actor.share.remote(ray.put(rows.take(shard)), shard): i
            for i, (actor, shard) in enumerate(zip(self.actors, shards, strict=False))
        }
        share = merged(shards, self._results(calls, self.section.timeout_s))
        return Scores.of(share, self.combination, rows, step)

    def peaks(self) -> list[Peak]:
        """What the process of each actor has taken so far."""
        return self._results(
            {actor.peak.remote(): i for i, actor in enumerate(self.actors)}, ANSWER_TIMEOUT_S
        )

    def close(self) -> None:
        """End the actors."""
        for actor in self.actors:
            ray.kill(actor)
        self.actors = []

    def _start(self, i: int) -> Any:
        # Two threads, so that `doing` is answered while `share` runs.
        options: dict[str, Any] = {"max_concurrency": 2, "max_restarts": -1}
        options["max_task_retries"] = TASK_RETRIES
        options["scheduling_strategy"] = "DEFAULT" if self._place is None else self._place(i)
        share = {"num_cpus": self.section.cpus_per_actor, "num_gpus": self.section.gpus_per_actor}
        with by_value(self.section):
            return ray.remote(RewardActor).options(**options, **share).remote(*self._arguments)

    def _results(self, calls: Mapping[Any, int], timeout_s: float) -> list[Any]:
        """Results of one call (key) an actor (value: its number), in the order of the calls."""
        done, late = ray.wait(list(calls), num_returns=len(calls), timeout=timeout_s)
        results = {ref: self._result(ref, calls[ref]) for ref in done}
        if late:
            stuck = ", ".join(self._replaced(calls[ref]) for ref in late)
            fix = "fix the function, or raise timeout_s"
            raise ScoringError(f"not done after {timeout_s:g} s: {stuck}; {fix}")
        return [results[ref] for ref in calls]

    def _result(self, ref: Any, i: int) -> Any:
        try:
            return ray.get(ref)
        except RayTaskError as error:  # the actor lives and its code raised: no use in trying again
            if isinstance(error.cause, UserError):
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
        self.actors[i] = self._start(i)
        return f"reward actor {i} ({state})"
