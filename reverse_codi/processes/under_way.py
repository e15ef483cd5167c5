"""What this process is doing, for messages about stops and stalls: stage, step, phase, and whom it waits for.

Long work says here where it is. A signal's message, the stall watchdog and tests of faults read it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Doing:
    """What is under way.

    Attributes:
        stage: such as "warm start" or "grpo"; "" outside of stages.
        step: the optimizer step that is being taken, counted from 1; 0 between steps.
        phase: part of a step, such as "generate"; "" where there is none.
        waits_for: the actors whose answer is awaited; "" for none.
        moved: when something last moved, by `time.monotonic`.
    """

    stage: str = ""
    step: int = 0
    phase: str = ""
    waits_for: str = ""
    moved: float = field(default_factory=time.monotonic)


now = Doing()
"""Of this process."""
listeners: list[Callable[[Doing], None]] = []
"""Called whenever a phase begins."""


def moved() -> None:
    """Something was done: the work is not stuck."""
    now.moved = time.monotonic()


def still_for() -> float:
    """Seconds since something moved."""
    return time.monotonic() - now.moved


def at_step(step: int) -> None:
    """A step begins, counted from 1; 0 ends the last one."""
    now.step, now.phase = step, ""
    moved()


def begin_phase(name: str) -> None:
    """The next part of a step begins, and lasts until another one begins or the step ends."""
    now.phase = name
    moved()
    for listener in listeners:
        listener(now)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """The block is a stage of the work."""
    before, now.stage = now.stage, name
    at_step(0)
    try:
        yield
    finally:
        now.stage = before
        at_step(0)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """The block is a part of a step, or of what stands between steps."""
    before = now.phase
    begin_phase(name)
    try:
        yield
    finally:
        now.phase = before
        moved()


@contextmanager
def waiting(whom: str) -> Iterator[None]:
    """In the block the answer of actors is awaited; that alone moves nothing."""
    before, now.waits_for = now.waits_for, whom
    try:
        yield
    finally:
        now.waits_for = before


def described() -> str:
    """All of it in words, such as "grpo, step 12, generate (waiting for rollout actor 0)"."""
    parts = [now.stage, f"step {now.step}" if now.step else "", now.phase]
    words = ", ".join(part for part in parts if part)
    return f"{words} (waiting for {now.waits_for})" if now.waits_for else words
