"""Scoring on Ray actors: each holds one `LocalScorer` and rewards a share of a step."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from reverse_codi.errors import UserError
from reverse_codi.processes import ray_session, under_way
from reverse_codi.processes.actor_requests import Submit, answers, first_line
from reverse_codi.processes.memory import Peak, peak
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.load import load_reasoner, reasoner_folder
from reverse_codi.recipe.reading import ReadSpec
from reverse_codi.recipe.reward import RewardSection
from reverse_codi.rewards.batch import RewardError
from reverse_codi.rewards.candidates import Candidates, balanced
from reverse_codi.rewards.combining import Combination
from reverse_codi.rewards.registry import find_functions
from reverse_codi.rewards.scoring import IDLE, LocalScorer, PartialScores, Scores, merged
from reverse_codi.utils.user_code import innermost, is_installed

log = logging.getLogger(__name__)

START_TIMEOUT_S = 600.0
ANSWER_TIMEOUT_S = 5.0
# An actor that dies is started again and its share scored again; a text that kills actors must end.
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


def _share(rows: Any, places: list[int], actor: Any) -> Any:
    return actor.share.remote(rows, places)


class RewardPool:
    """Scores rows on Ray actors; one that dies or hangs is replaced.

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
        self.restarts = 0
        """Actors that were replaced so far."""
        self.actors: list[Any] = [self._start(i) for i in range(section.actors)]
        specs = [self._started(i) for i in range(section.actors)]
        self.spec = specs[0]

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
        jobs = {i: partial(_share, ray.put(rows.take(shard)), shard) for i, shard in enumerate(shards)}
        share = merged(shards, self._answers(jobs))
        return Scores.of(share, self.combination, rows, step)

    def peaks(self) -> list[Peak]:
        """What the process of each actor has taken so far."""
        return self._answers(dict.fromkeys(range(len(self.actors)), lambda actor: actor.peak.remote()))

    def close(self) -> None:
        """End the actors."""
        for actor in self.actors:
            ray.kill(actor)
        self.actors = []

    def _start(self, i: int) -> Any:
        # Two threads, so that `doing` is answered while `share` runs.
        options: dict[str, Any] = {"max_concurrency": 2}
        options["scheduling_strategy"] = "DEFAULT" if self._place is None else self._place(i)
        share = {"num_cpus": self.section.cpus_per_actor, "num_gpus": self.section.gpus_per_actor}
        with by_value(self.section):
            return ray.remote(RewardActor).options(**options, **share).remote(*self._arguments)

    @ray_session.blamed()
    def _started(self, i: int) -> ReadSpec:
        """Wait until actor `i` has started."""
        ready = self.actors[i].spec.remote()
        with under_way.waiting(f"reward actor {i} to start"):
            done, _ = ray.wait([ready], timeout=START_TIMEOUT_S)
        if not done:
            raise ScoringError(
                f"reward actor {i} did not start in {START_TIMEOUT_S:g} s; it needs "
                f"{self.section.cpus_per_actor:g} CPU and {self.section.gpus_per_actor:g} GPU: are they free "
                "(`ray status`)?"
            )
        try:
            return ray.get(ready)
        except RayError as error:
            raise ScoringError(f"reward actor {i} cannot start: {error}") from error

    # ---- what fails, see `processes.actor_requests.Group`

    kind = "reward"

    def _answers(self, jobs: Mapping[int, Submit]) -> list[Any]:
        """The answers to jobs, in their order."""
        self._deaths: Counter[int] = Counter()  # of each actor within the request
        found = answers(jobs, self, self.section.timeout_s)
        return [found[i] for i in jobs]

    def actor(self, i: int) -> Any:
        """The handle of actor `i`."""
        return self.actors[i]

    def reason(self, i: int, error: RayError) -> str:
        """Why actor `i` is to be replaced.

        Raises:
            UserError: it lives: a reward function is at fault, which would fail again.
            ScoringError: its share has killed actors before.
        """
        if isinstance(error, RayTaskError):
            if isinstance(error.cause, UserError):
                raise error.cause from error
            raise error
        self._deaths[i] += 1
        if self._deaths[i] > TASK_RETRIES:
            self.replace(i, "it died")
            problem = f"reward actor {i} died, in {TASK_RETRIES} retries too"
            raise ScoringError(f"{problem}: {error}") from error
        return first_line(error)

    def too_late(self, late: Sequence[int], again: bool) -> None:
        """Give up on actors that are at work and slow, or silent even when started anew.

        Raises:
            ScoringError: names each actor and what it does.
        """
        states = {i: self._state(i) for i in late}
        if not again and not any(states.values()):
            return
        for i in late:
            self._renew(i, "it is stuck")  # the error need not wait until it has started
        silent = "not answering; are its CPUs and GPUs free?"
        stuck = ", ".join(f"reward actor {i} ({states[i] or silent})" for i in late)
        fix = "fix the function, or raise timeout_s"
        raise ScoringError(f"not done after {self.section.timeout_s:g} s: {stuck}; {fix}")

    def _state(self, i: int) -> str:
        """What actor `i` is doing; "" where it does not say, or has nothing to do."""
        doing = self.actors[i].doing.remote()
        answered, _ = ray.wait([doing], timeout=ANSWER_TIMEOUT_S)
        try:
            state = str(ray.get(doing)) if answered else IDLE
        except RayError:  # it died meanwhile
            state = IDLE
        return "" if state == IDLE else state

    def replace(self, i: int, reason: str) -> None:
        """Start actor `i` again, and wait until it has.

        Raises:
            ScoringError: it does not start.
        """
        self._renew(i, reason)
        self._started(i)

    def _renew(self, i: int, reason: str) -> None:
        self.restarts += 1
        log.warning("reward actor %d is started again (restart %d): %s", i, self.restarts, reason)
        ray.kill(self.actors[i])
        self.actors[i] = self._start(i)
