"""Running several reward functions on a batch: time limits, and checks of what each returns and writes."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any

from reverse_codi.rewards.batch import Columns, RewardBatch, RewardError, figure
from reverse_codi.rewards.batch_guard import BatchGuard
from reverse_codi.rewards.declare import RewardSpec
from reverse_codi.rewards.values import ReturnedError, WrongLengthError, checked, values_of
from reverse_codi.utils.user_code import file_of, in_one_line, raised_at


def run_rewards(
    functions: Sequence[RewardSpec],
    batch: RewardBatch,
    under_way: Callable[[list[str]], None] | None = None,
) -> Columns:
    """Run every function once on the well-formed rows; failed rows get its `worst`.

    For a function without one they are None until all rows of a step are together, see `Combination`.

    Slow and async functions start first; the others take turns while those wait.

    Args:
        functions: what to run; no two of one name.
        batch: all rows, failed ones included.
        under_way: called with the names of what runs whenever that changes, so that a hang has a name.

    Raises:
        RewardError: a function raised, ended the process, took too long, wrote into the batch, or returned
            another number of values, something that is no float, NaN, an infinity, or less than its `worst`.
    """
    scores: Columns = {reward.name: [reward.worst] * len(batch) for reward in functions}
    rows = batch.well_formed
    if not rows:
        return scores
    guard = BatchGuard(batch if len(rows) == len(batch) else batch.take(rows), functions)

    def called(reward: RewardSpec) -> _Call:
        shown = guard.shown_to(reward)
        return _Call(reward, replace(shown, log=_log_of(reward.name, shown.log)))

    started = {reward.name: called(reward) for reward in functions if reward.beside}
    order = sorted(functions, key=lambda reward: reward.beside)
    for turn, reward in enumerate(order):
        beside = [other.name for other in order[turn + 1 :] if other.beside]
        if under_way is not None:
            under_way([reward.name, *beside])
        call = started.get(reward.name) or called(reward)
        try:
            values = call.values()
        except RewardError as error:
            row = None if error.row is None else rows[error.row]
            raise RewardError(error.name, error.problem, row, error.text) from error.__cause__
        guard.check(reward, beside)
        for row, value in zip(rows, values, strict=True):
            scores[reward.name][row] = checked(reward, value, row, batch.texts[row])
    return scores


def _log_of(reward: str, log: Callable[[str, float], None]) -> Callable[[str, float], None]:
    """`batch.log` of one reward; averages and files of figures could not hold NaN."""

    def logged(name: str, value: float) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"batch.log({name!r}, {value!r}): give the scalar a name first")
        if not math.isfinite(value):
            raise ValueError(
                f"batch.log({name!r}, {value}): log finite numbers, and nothing where there is none"
            )
        log(figure(reward, name), float(value))

    return logged


class _Call:
    """A function at work on a batch, in a thread of its own, so that a hang does not hold up its caller."""

    def __init__(self, reward: RewardSpec, shown: RewardBatch) -> None:
        self.reward, self.shown = reward, shown
        self._deadline = time.monotonic() + reward.timeout_s
        self._future = _in_thread(lambda: _returned(reward, shown))

    def values(self) -> list[Any]:
        """What it returned, unchecked but for its form; the `row` of errors counts in `shown`."""
        if not _done(self._future, self._deadline - time.monotonic()):
            limit, fix = self.reward.timeout_s, "fix it, or raise its timeout_s"
            raise self._blaming(f"not done after {limit:g} s on {len(self.shown)} texts; {fix}")
        error = self._future.exception()
        if error is None:
            return self._future.result()
        if isinstance(error, WrongLengthError):
            raise self._blaming(str(error)) from error
        if isinstance(error, ReturnedError):
            raise RewardError(self.reward.name, str(error)) from error
        # User code may raise anything, SystemExit too; the traceback stays behind in the actor.
        where = raised_at(error, file_of(self.reward.function))
        problem = f"raised {type(error).__name__} at {where} on {len(self.shown)} texts: {in_one_line(error)}"
        if not isinstance(error, Exception):
            problem += "; raise an Exception, which says what is wrong, instead of ending the process"
        raise self._blaming(problem) from error

    def _blaming(self, problem: str) -> RewardError:
        """The error, with the first row that is wrong when it is asked for alone, if there is one."""
        row = _culprit(self.reward, self.shown)
        if row is None:
            return RewardError(self.reward.name, f"{problem} (the first text: {self.shown.texts[0]!r})")
        return RewardError(self.reward.name, problem, row, self.shown.texts[row])


def _in_thread(work: Callable[[], Any]) -> Future[Any]:
    """Run `work` in a thread that does not keep the process alive, as an executor's would."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # whatever it is, the caller gets it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _returned(reward: RewardSpec, shown: RewardBatch) -> list[Any]:
    """The function's values, awaited if need be."""
    result = reward.function(shown)

    async def awaited(result: Awaitable[Any]) -> Any:
        return await result

    return values_of(asyncio.run(awaited(result)) if isinstance(result, Awaitable) else result, len(shown))


def _culprit(reward: RewardSpec, shown: RewardBatch) -> int | None:
    """The first row found, by halving, on which the function breaks or hangs alone.

    It asks for little more rows than there are. The halves share the function's time limit, the row that is
    left has all of it once more: what is merely slow on many rows does not hang on one.
    """
    rows = list(range(len(shown)))

    def breaks(asked: list[int], limit: float) -> bool:
        future = _in_thread(lambda: _returned(reward, shown.take(asked)))
        return not _done(future, limit) or future.exception() is not None

    halvings = math.ceil(math.log2(len(rows)))
    while len(rows) > 1:
        half = rows[: len(rows) // 2]
        rows = half if breaks(half, reward.timeout_s / halvings) else rows[len(half) :]
    return rows[0] if breaks(rows, reward.timeout_s) else None


def _done(future: Future[Any], seconds: float) -> bool:
    return bool(wait([future], max(0.0, seconds)).done)
