"""What a reward function is shown, what it may return, and how several are run.

Shapes: N texts, F features, P points of the ReadSpec, d width.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import numbers
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from reverse_codi.config import UserError
from reverse_codi.reading.measure import Measure
from reverse_codi.rows import Rows


@dataclass(frozen=True, kw_only=True)
class RewardBatch(Rows):
    """What a reward function is shown: well-formed rows only, already read.

    A batch is one actor's share of a step, so a row's value may depend on that row and on `step` alone.

    Attributes:
        states: [N, F] the frozen model's states on the texts, as the recipe's ReadSpec takes them.
        predicted: [N, d] the thoughts that these states map to.
        reader: for further passes; a text that was read before in this step costs nothing.
        log: records a scalar under a name; averaged over the rows of a step.
        layers: where a reward asks for some with `@reward(layers=...)`, the states by layer (0: embeddings),
            [N, P, d] each: those asked for and the ReadSpec's, all from the one pass that `states` is from.
    """

    states: Tensor
    predicted: Tensor
    reader: Measure
    log: Callable[[str, float], None]
    layers: dict[int, Tensor] = field(default_factory=dict)


Values = Sequence[float | None]
Columns = dict[str, list[float | None]]
RewardFunction = Callable[[RewardBatch], Values | Awaitable[Values]]
"""One float a row, larger is better; None where it does not apply. May be async."""


@dataclass(frozen=True)
class Registered:
    """A reward function ready to run.

    Attributes:
        name: its column in metrics and tables.
        function: takes a batch, and nothing else.
        worst: what a failed text gets, and the least that the function may return: if it returned
            less, failing would pay.
        description: first line of its docstring.
        supervised: whether it uses gold labels; for ablations only.
        slow: whether it mostly waits, as for a server, and so runs beside the others.
        layers: what it asks for in `RewardBatch.layers`, written as in a ReadSpec.
        timeout_s: seconds that it may take for one batch; finding the row that it hangs on takes up to twice
            as long.
    """

    name: str
    function: RewardFunction
    worst: float
    description: str = ""
    supervised: bool = False
    slow: bool = False
    layers: str = ""
    timeout_s: float = 600.0

    @property
    def beside(self) -> bool:
        """Whether it runs beside the others, as slow and async functions do."""
        called = (self.function, type(self.function).__call__)  # the latter where it is an object
        return self.slow or any(map(inspect.iscoroutinefunction, called))


class RewardError(UserError):
    """A reward function broke its contract on a row.

    Args:
        name: the reward function.
        problem: what was wrong, and the mend.
        row: the row in the batch that was asked for; None where no single one is to blame.
        text: that row's text.
    """

    def __init__(self, name: str, problem: str, row: int | None = None, text: str | None = None) -> None:
        super().__init__(name, problem, row, text)  # all of them, so that the error survives pickling
        self.name, self.problem, self.row, self.text = name, problem, row, text

    def __str__(self) -> str:
        """Name, problem, row and text in one line."""
        where = "" if self.row is None else f" (row {self.row}, text {self.text!r})"
        return f"reward {self.name!r}: {self.problem}{where}"


def run_rewards(
    functions: Sequence[Registered],
    batch: RewardBatch,
    under_way: Callable[[list[str]], None] | None = None,
) -> Columns:
    """Run every function once on the well-formed rows; failed rows get its `worst`.

    Slow and async functions start first; the others take turns while those wait.

    Args:
        functions: what to run; no two of one name.
        batch: all rows, failed ones included.
        under_way: told the names of what runs whenever that changes, so that a hang has a name.

    Raises:
        RewardError: a function raised, took too long, or returned another number of values, something
            that is no float, NaN, an infinity, or less than its `worst`.
    """
    scores: Columns = {reward.name: [reward.worst] * len(batch) for reward in functions}
    rows = batch.well_formed
    if not rows:
        return scores
    shown = batch if len(rows) == len(batch) else batch.take(rows)
    started = {reward.name: _Call(reward, shown) for reward in functions if reward.beside}
    order = sorted(functions, key=lambda reward: reward.beside)
    for turn, reward in enumerate(order):
        if under_way is not None:
            under_way([reward.name, *(other.name for other in order[turn + 1 :] if other.beside)])
        call = started.get(reward.name) or _Call(reward, shown)
        try:
            values = call.values()
        except RewardError as error:
            row = None if error.row is None else rows[error.row]
            raise RewardError(error.name, error.problem, row, error.text) from error.__cause__
        for row, value in zip(rows, values, strict=True):
            scores[reward.name][row] = _checked(reward, value, row, batch.texts[row])
    return scores


class _Call:
    """A function at work on a batch, in a thread of its own, so that a hang does not hold up its caller."""

    def __init__(self, reward: Registered, shown: RewardBatch) -> None:
        self.reward, self.shown = reward, shown
        self._deadline = time.monotonic() + reward.timeout_s
        self._future = _in_thread(lambda: _returned(reward, shown))

    def values(self) -> list[Any]:
        """What it returned, unchecked but for the number; the `row` of errors counts in `shown`."""
        if not _done(self._future, self._deadline - time.monotonic()):
            limit, mend = self.reward.timeout_s, "mend it, or raise its timeout_s"
            raise self._blaming(f"not done after {limit:g} s on {len(self.shown)} texts; {mend}")
        try:
            return self._future.result()
        except _WrongLengthError as error:
            problem = f"returned {error} values for {len(self.shown)} texts; return one for each"
            raise self._blaming(problem) from error
        except Exception as error:  # user code may raise anything; the traceback stays behind in the actor
            frames = traceback.extract_tb(error.__traceback__)
            frame = ([f for f in frames if "site-packages" not in f.filename] or frames)[-1]
            where = f"{frame.filename}:{frame.lineno}"
            said = " ".join(str(error).split())  # one line, whatever it is
            problem = f"raised {type(error).__name__} at {where} on {len(self.shown)} texts: {said}"
            raise self._blaming(problem) from error

    def _blaming(self, problem: str) -> RewardError:
        """The error, with the first row that is wrong when it is asked for alone, if there is one."""
        row = _culprit(self.reward, self.shown)
        if row is None:
            return RewardError(self.reward.name, f"{problem} (the first text: {self.shown.texts[0]!r})")
        return RewardError(self.reward.name, problem, row, self.shown.texts[row])


class _WrongLengthError(Exception):
    """Another number of values than of texts."""


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


def _returned(reward: Registered, shown: RewardBatch) -> list[Any]:
    """The function's values, awaited if need be."""
    result = reward.function(shown)

    async def awaited(result: Awaitable[Values]) -> Values:
        return await result

    values = list(asyncio.run(awaited(result)) if isinstance(result, Awaitable) else result)
    if len(values) != len(shown):
        raise _WrongLengthError(len(values))
    return values


def _culprit(reward: Registered, shown: RewardBatch) -> int | None:
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


def _checked(reward: Registered, value: Any, row: int, text: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        mend = "return floats or None (`.tolist()` makes them of a tensor)"
        raise RewardError(reward.name, f"returned a {type(value).__name__}, {value!r}; {mend}", row, text)
    number = float(value)
    if not math.isfinite(number):
        problem = f"returned {number}; clip it, or return None where it means nothing"
        raise RewardError(reward.name, problem, row, text)
    if number < reward.worst - 1e-5 * max(1.0, abs(reward.worst)):  # float32 rounding
        problem = f"returned {number:.6g}, below its worst, {reward.worst:.6g}; clip it or lower the worst"
        raise RewardError(reward.name, problem, row, text)
    return number
