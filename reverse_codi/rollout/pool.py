"""Rollout engines as Ray actors: shares of a batch, policy sync, restarts and time limits."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError, RayTaskError
from torch import Tensor

from reverse_codi.processes import ray_session, under_way
from reverse_codi.processes.actor_requests import Request, Submit, first_line
from reverse_codi.processes.memory import Peak
from reverse_codi.recipe.rollout import RolloutSection
from reverse_codi.rollout.actor import Packed, RolloutActor
from reverse_codi.rollout.base import BASE_VERSION, EngineBrokenError, Rollout, Sampling
from reverse_codi.rollout.errors import (
    RolloutDataError,
    RolloutError,
    RolloutInfrastructureError,
    RolloutTimeoutError,
    StalePolicyError,
)
from reverse_codi.rollout.policy_files import PolicyFiles

log = logging.getLogger(__name__)


def _generate(packed: Packed, n: int, params: Sampling, first: int, version: int, actor: Any) -> Any:
    return actor.generate.remote(packed, n, params, first, version)


def _measures_the_gpu(section: RolloutSection) -> bool:
    """Whether actors must start one after the other.

    VLLM 0.31 takes all that a GPU loses while it starts for its own, and finds no room for its cache where
    another engine starts beside it.
    """
    return section.engine.kind == "vllm" and section.engine.device == "cuda" and section.gpus < 1


class RolloutPool:
    """Actors that sample for one trainer; one that dies or hangs is replaced, and holds the same policy.

    Args:
        base: folder of the language model that adapters apply to; actors read it too.
        section: number of actors, their resources, and time limits.
        place: the `scheduling_strategy` of actor i; by default Ray decides.

    Raises:
        RolloutInfrastructureError: an actor does not start, or not in time.
    """

    def __init__(
        self, base: str | Path, section: RolloutSection, place: Callable[[int], Any] | None = None
    ) -> None:
        self.base = str(Path(base).resolve())
        self.section = section
        self._place = place
        self.restarts = 0
        """Actors that were replaced so far."""
        self._in_a_row = 0  # of them, since a request was answered
        self._loaded: PolicyFiles | None = None  # what a replaced actor loads again
        self._version: int | None = BASE_VERSION
        self._asked: int | None = BASE_VERSION  # what actors load before they do what they are asked next
        self._actors: list[Any] = []
        try:
            for i in range(section.actors):
                self._actors.append(self._launch(i))
                if _measures_the_gpu(section):
                    self._await_start(i)
            for i in range(section.actors):
                self._await_start(i)
        except RolloutError:
            self.close()
            raise

    @property
    def policy_version(self) -> int | None:
        """The version that every actor holds; None while it is loaded, and after a sync that failed."""
        return self._version

    def sync(self, adapter: str | Path, version: int) -> None:
        """Load an adapter into every actor; see `begin_sync`."""
        self.begin_sync(adapter, version)()

    def begin_sync(self, adapter: str | Path, version: int) -> Callable[[], None]:
        """Let every actor load an adapter, and do not wait for them; what is asked next they do with it.

        This folder must stay until the next sync is over, because a replaced actor loads it again. The one
        before may be deleted when all have this one.

        Returns:
            What waits until all have it. Call it before anything else that waits for an actor.

        Raises:
            RolloutDataError: the adapter cannot be loaded.
            StalePolicyError: an actor acknowledges another version.
            RolloutInfrastructureError: actors died or did not answer, too often.
        """
        policy = PolicyFiles.of(adapter, version)
        self._version, self._asked = None, version
        request = Request(self._all(policy.load), self)

        def loaded() -> None:
            self._asked = None
            acknowledged = self._answered(request, f"cannot load policy {version}")
            wrong = {i: got for i, got in acknowledged.items() if got != version}
            if wrong:
                raise StalePolicyError(f"asked actors to load policy {version}; they acknowledged {wrong}")
            self._loaded, self._version, self._asked = policy, version, version

        return loaded

    def generate(self, prompts: Sequence[Tensor], n: int, params: Sampling, version: int) -> list[Rollout]:
        """Sample `n` texts a prompt with policy `version`; see `begin`."""
        return self.begin(prompts, n, params, version)()

    def begin(
        self, prompts: Sequence[Tensor], n: int, params: Sampling, version: int
    ) -> Callable[[], list[Rollout]]:
        """Let actors sample `n` texts a prompt with policy `version`, and do not wait for them.

        Take the rollouts before the next sync: an actor that has died meanwhile could not sample them again.

        Args:
            prompts: each [T, d] input embeddings.
            n: G, samples a prompt.
            params: how to sample; the result does not depend on the number of actors.
            version: the policy that the trainer believes the actors hold.

        Returns:
            What waits for them: the G rollouts of prompt 0, then those of prompt 1, ...

        Raises:
            StalePolicyError: the actors hold another version, and were not asked to load this one.
            RolloutDataError: a prompt is malformed.
            RolloutInfrastructureError: actors died or did not answer, too often.
        """
        if version != self._asked:
            raise StalePolicyError(f"asked for policy {version}; the pool holds {self._version}: sync first")
        jobs: dict[int, Submit] = {}
        n_actors = len(self._actors)
        bounds = [
            -(-len(prompts) * i // n_actors) for i in range(n_actors + 1)
        ]  # earlier actors get the odd ones
        for i, (first, last) in enumerate(itertools.pairwise(bounds)):
            if first < last:
                packed = Packed.of(prompts[first:last])
                jobs[i] = partial(_generate, packed, n, params, first, version)
        request = Request(jobs, self)

        def sampled() -> list[Rollout]:
            parts = self._answered(request)
            rollouts: list[Rollout] = [rollout for i in sorted(parts) for rollout in parts[i]]
            stale = {rollout.policy_version for rollout in rollouts} - {version}
            if stale:
                raise StalePolicyError(f"asked for policy {version}; rollouts came from {sorted(stale)}")
            return rollouts

        return sampled

    def begin_score(
        self, prompts: Sequence[Tensor], completions: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> Callable[[], list[list[NDArray[np.float32]]]]:
        """The canary's probe: every actor's log-probabilities of the same completions.

        Returns:
            What waits for them: [actor][prompt] of [T].
        """
        packed = Packed.of(prompts)
        ids = [[int(token) for token in row] for row in completions]
        request = Request(self._all(lambda actor: actor.score.remote(packed, ids, temperature)), self)

        def scored() -> list[list[NDArray[np.float32]]]:
            parts = self._answered(request)
            return [parts[i] for i in sorted(parts)]

        return scored

    def peaks(self) -> list[Peak]:
        """What the process of each actor has taken so far."""
        parts = self._run(self._all(lambda actor: actor.peak.remote()))
        return [parts[i] for i in sorted(parts)]

    def _all(self, submit: Submit) -> dict[int, Submit]:
        return dict.fromkeys(range(len(self._actors)), submit)

    def close(self) -> None:
        """Stop the actors."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []

    def __enter__(self) -> Self:
        """The pool, which is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the actors."""
        self.close()

    def _launch(self, i: int) -> Any:
        threads = max(1, int(self.section.cpus))
        remote = ray.remote(RolloutActor).options(
            num_cpus=self.section.cpus,
            num_gpus=self.section.gpus,
            scheduling_strategy="DEFAULT" if self._place is None else self._place(i),
            # Two torch processes that each take all cores run 20 times slower than one (measured, 2 cores).
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(threads)}},
        )
        return remote.remote(self.base, self.section.engine, threads)

    @ray_session.blamed()
    def _await_start(self, i: int) -> None:
        limit = self.section.start_timeout_s
        started = self._actors[i].version.remote()
        with under_way.waiting(f"rollout actor {i} to start"):
            done, _ = ray.wait([started], timeout=limit)
        if not done:
            raise RolloutTimeoutError(
                f"rollout actor {i} did not start in {limit:g} s; it needs {self.section.cpus:g} CPU and "
                f"{self.section.gpus:g} GPU: are they free (`ray status`)? Else raise rollout.start_timeout_s"
            )
        try:
            ray.get(started)
        except RayError as error:
            raise RolloutInfrastructureError(f"rollout actor {i} cannot start: {error}") from error

    # ---- what fails, see `processes.actor_requests.Group`

    kind = "rollout"

    def _run(self, jobs: Mapping[int, Submit], refused: str = "refused the request") -> dict[int, Any]:
        """Run one job on each of some actors; results by actor."""
        return self._answered(Request(jobs, self), refused)

    def _answered(self, request: Request, refused: str = "refused the request") -> dict[int, Any]:
        """The results of a request by actor."""
        self._refused = refused
        found = request.answers(self.section.timeout_s)
        self._in_a_row = 0
        return found

    def actor(self, i: int) -> Any:
        """The handle of actor `i`."""
        return self._actors[i]

    def reason(self, i: int, error: RayError) -> str:
        """Why actor `i` is to be replaced.

        Raises:
            RolloutDataError: it lives, and cannot do what it was asked.
            StalePolicyError: it holds another policy.
        """
        if isinstance(error, RayTaskError) and not isinstance(error.cause, EngineBrokenError):
            if isinstance(error.cause, StalePolicyError):
                raise StalePolicyError(f"rollout actor {i}: {error.cause}") from error
            raise RolloutDataError(f"rollout actor {i} {self._refused}: {error.cause}") from error
        return first_line(error.cause if isinstance(error, RayTaskError) else error)

    def too_late(self, late: Sequence[int], again: bool) -> None:
        """Give up where even a new actor does not answer in time."""
        if again:
            for i in late:  # a stuck engine would block every later request too
                self.replace(i, "it did not answer")
            raise RolloutTimeoutError(
                f"rollout actors {list(late)} did not answer in {self.section.timeout_s:g} s, nor did those "
                "that took their places; ask for less at once, or raise rollout.timeout_s"
            )

    def replace(self, i: int, reason: str) -> None:
        """Start actor `i` again, with the policy that the pool holds.

        Raises:
            RolloutInfrastructureError: too many in a row, or a new one finds no place.
        """
        while True:
            if self._in_a_row >= self.section.max_restarts:
                raise RolloutInfrastructureError(
                    f"rollout actor {i} failed ({reason}) after {self._in_a_row} restarts; see its log in "
                    f"{ray_session.folder() or '/tmp/ray/session_latest'}/logs, or raise rollout.max_restarts"
                )
            self.restarts += 1
            self._in_a_row += 1
            log.warning("rollout actor %d is started again (restart %d): %s", i, self.restarts, reason)
            ray.kill(self._actors[i])
            self._actors[i] = self._launch(i)
            try:
                self._await_start(i)
                self._reload(i)
            except RolloutTimeoutError:
                raise
            except RolloutInfrastructureError as error:  # the new one died too
                reason = first_line(error)
            else:
                return

    def _reload(self, i: int) -> None:
        if self._loaded is None:
            return
        try:
            ray.get(self._loaded.load(self._actors[i]), timeout=self.section.timeout_s)
        except RayError as error:
            cause = error.cause if isinstance(error, RayTaskError) else error
            raise RolloutInfrastructureError(
                f"rollout actor {i} was started again but cannot load policy {self._loaded.version} from "
                f"{self._loaded.folder}, which must stay until the next sync: {cause}"
            ) from error
