"""Requests to Ray actors: one that died or that is silent is replaced and asked again, within bounds.

A hang is treated as a death is: the actor is killed when its time is over. What the actor's code raises is
not asked again, for a second try would fail too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import ray
from ray.exceptions import RayError

from reverse_codi.processes import ray_session, under_way

Submit = Callable[[Any], Any]
"""Makes a remote call on an actor and returns its ObjectRef."""
# How often a wait looks whether Ray itself still lives.
POLL_S = 2.0
# Times that one actor may be silent within a request: then what is asked takes too long, whoever is asked.
SILENT_TIMES = 2


class Group(Protocol):
    """Actors of one kind, and what is done about those that fail."""

    kind: str
    """What they are, such as "rollout"."""

    def actor(self, i: int) -> Any:
        """The handle of actor `i`; another one once it was replaced."""
        ...

    def reason(self, i: int, error: RayError) -> str:
        """Why actor `i` is to be replaced.

        Raises:
            Exception: it is not: the request is at fault, and not the actor.
        """
        ...

    def replace(self, i: int, reason: str) -> None:
        """Kill actor `i`, and return when a new one has started in its place.

        Raises:
            Exception: too many died.
        """
        ...

    def too_late(self, late: Sequence[int], again: bool) -> None:
        """Look at actors that are silent when their time is over; `again`: one was so in this request before.

        Raises:
            Exception: they are not to be asked again.
        """
        ...


def answers(jobs: Mapping[int, Submit], group: Group, timeout_s: float) -> dict[int, Any]:
    """The answer of each actor to its job; see `Request.answers`."""
    return Request(jobs, group).answers(timeout_s)


class Request:
    """Jobs that actors are at work on, while this process does something else.

    Args:
        jobs: number of an actor -> what it is asked.
        group: the actors.

    Raises:
        RayDiedError: the Ray that this process started is gone.
    """

    def __init__(self, jobs: Mapping[int, Submit], group: Group) -> None:
        ray_session.check_alive()  # actors answer for a while after their head has died
        self._jobs, self._group = jobs, group
        with ray_session.blamed():
            self._asked = {submit(group.actor(i)): (i, group.actor(i)) for i, submit in jobs.items()}

    def answers(self, timeout_s: float) -> dict[int, Any]:
        """Wait for the answer of each actor.

        Args:
            timeout_s: seconds that each may take from now on, the start of a new one not counted.

        Raises:
            RayDiedError: the Ray that this process started is gone.
            Exception: see `Group`.
        """
        ray_session.check_alive()
        with ray_session.blamed():
            return _answers(self._jobs, self._asked, self._group, timeout_s)


def _answers(
    jobs: Mapping[int, Submit], pending: dict[Any, tuple[int, Any]], group: Group, timeout_s: float
) -> dict[int, Any]:
    due = dict.fromkeys(jobs, time.monotonic() + timeout_s)
    silent = dict.fromkeys(jobs, 0)
    found: dict[int, Any] = {}

    def again(ref: Any, reason: str) -> None:
        i, asked = pending.pop(ref)
        ray_session.check_alive()  # else the wait for a new one is in vain
        if group.actor(i) is asked:  # an earlier request may have replaced it
            group.replace(i, reason)
        pending[jobs[i](group.actor(i))] = i, group.actor(i)
        due[i] = time.monotonic() + timeout_s

    while pending:
        soonest = min(due[i] for i, _ in pending.values()) - time.monotonic()
        whom = ", ".join(f"{group.kind} actor {i}" for i in sorted(i for i, _ in pending.values()))
        with under_way.waiting(whom):
            done, _ = ray.wait(list(pending), timeout=min(POLL_S, max(0.0, soonest)))
        if done:
            under_way.moved()
        for ref in done:
            try:
                found[pending[ref][0]] = ray.get(ref)
            except RayError as error:
                again(ref, group.reason(pending[ref][0], error))
            else:
                del pending[ref]
        if done:
            continue
        ray_session.check_alive()
        late = {ref: i for ref, (i, _) in pending.items() if due[i] <= time.monotonic()}
        if late:
            for i in late.values():
                silent[i] += 1
            group.too_late(sorted(late.values()), max(silent.values()) >= SILENT_TIMES)
            for ref in late:
                again(ref, f"it did not answer in {timeout_s:g} s")
    return found


def first_line(error: BaseException | None) -> str:
    """What an error says in one line; its name where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
