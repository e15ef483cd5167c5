"""What a reward function is shown, what it may return, and how all of them are run.

Shapes: N texts, F features, d width, M distractors.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import numbers
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Self

from pydantic import Field
from torch import Tensor

from reverse_codi.config import RecipeError, Section, UserError
from reverse_codi.reading.measure import Measure
from reverse_codi.reading.spec import Point, Prefix, ReadSpec, before_last_number
from reverse_codi.sites import Site


@dataclass(frozen=True)
class Step:
    """Every text of one step, for rewards that compare texts with each other.

    Attributes:
        texts: all of them, failed ones included, in the order in which they were asked for.
        thoughts: a number for each text; texts of one thought share it.
    """

    texts: list[str] = field(default_factory=list)
    thoughts: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Candidate texts with the thoughts they stand for, before anything is read.

    Attributes:
        texts: what the verbalizer wrote, decoded.
        token_ids: the verbalizer's own tokens of each text.
        questions: the question that each thought belongs to.
        sites: the site of each thought.
        targets: [N, d] the true thoughts.
        distractors: [N, M, d] other thoughts of the same site.
        finished: False where the text was truncated.
        claims: gold claims of each trace, if the task has any.
        policy_version: adapter version that wrote the texts.
        thoughts: a number for each row, the same as in `step`; if not given, rows of one question and site
            are of one thought.
        step: the step that these rows are a part of; if not given, they are all of it.
    """

    texts: list[str]
    token_ids: list[list[int]]
    questions: list[str]
    sites: list[Site]
    targets: Tensor
    distractors: Tensor
    finished: list[bool]
    claims: list[list[str]] | None = None
    policy_version: int = 0
    thoughts: list[int] = field(default_factory=list)
    step: Step = field(default_factory=Step)

    def __post_init__(self) -> None:
        """Number the thoughts, refuse columns of different lengths."""
        if not self.thoughts:
            numbers: dict[tuple[str, Site], int] = {}
            keys = zip(self.questions, self.sites, strict=False)
            object.__setattr__(self, "thoughts", [numbers.setdefault(key, len(numbers)) for key in keys])
        for name in self.__dataclass_fields__:
            column = getattr(self, name)
            if isinstance(column, list | Tensor) and len(column) != len(self.texts):
                rows = f"{len(column)} rows where texts has {len(self.texts)}"
                raise ValueError(f"{name} has {rows}; make them equal")
        if not self.step.texts:
            object.__setattr__(self, "step", Step(self.texts, self.thoughts))

    def __len__(self) -> int:
        """N."""
        return len(self.texts)

    @property
    def well_formed(self) -> list[int]:
        """Rows whose text is finished and says something."""
        return [i for i, text in enumerate(self.texts) if self.finished[i] and text.strip()]

    def take(self, rows: Sequence[int]) -> Self:
        """The given rows, in the given order."""

        def taken(column: Any) -> Any:
            if isinstance(column, Tensor):
                return column[list(rows)]
            return [column[i] for i in rows] if isinstance(column, list) else column

        return replace(self, **{name: taken(getattr(self, name)) for name in self.__dataclass_fields__})


def balanced(rows: Rows, n: int, spec: ReadSpec) -> list[list[int]]:
    """Row numbers of at most `n` shares: rows that read the same stay together, lengths are evened."""
    groups: dict[tuple[str, str], list[int]] = {}
    for row, (text, question) in enumerate(zip(rows.texts, rows.questions, strict=True)):
        read = before_last_number(text.strip()) if spec.point is Point.BEFORE_RESULT else text.strip()
        groups.setdefault((read, question if spec.prefix is Prefix.QUESTION else ""), []).append(row)
    shares: list[list[int]] = [[] for _ in range(n)]
    loads = [0] * n
    for key in sorted(groups, key=lambda key: -sum(map(len, key))):  # longest first, to the least loaded
        least = loads.index(min(loads))
        shares[least] += groups[key]
        loads[least] += sum(map(len, key))
    return [sorted(share) for share in shares if share] or [[]]


@dataclass(frozen=True, kw_only=True)
class RewardBatch(Rows):
    """What a reward function is shown: well-formed rows only, already read.

    A batch is one actor's share of a step, so a row's value may depend on that row and on `step` alone.

    Attributes:
        states: [N, F] the frozen model's states on the texts.
        predicted: [N, d] the thoughts that these states map to.
        reader: for further passes; a text that was read before in this step costs nothing.
        log: records a scalar under a name; averaged over the rows of a step.
    """

    states: Tensor
    predicted: Tensor
    reader: Measure
    log: Callable[[str, float], None]


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
    """

    name: str
    function: RewardFunction
    worst: float
    description: str = ""
    supervised: bool = False


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


class RewardItem(Section):
    """One reward function of a recipe."""

    name: str
    """A name from reward/, an entry point, module:function or ./path.py:function."""
    weight: float = Field(default=1.0, allow_inf_nan=False)
    """Factor in the sum."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Fields of the function's own config."""


class RewardSection(Section):
    """Scoring: which reward functions, on how many actors."""

    functions: list[RewardItem] = Field(default=[RewardItem(name="hidden_match")], min_length=1)
    """Reward functions; a text's reward is their weighted sum."""
    actors: int = Field(default=1, ge=1)
    """Ray actors that read and score."""
    cpus_per_actor: float = Field(default=1.0, ge=0)
    """CPUs, and so threads, of each actor."""
    gpus_per_actor: float = Field(default=0.0, ge=0)
    """GPUs of each actor; above 0 the reader runs on the GPU."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Seconds that one step's scoring may take, an actor's restart included."""


def find_functions(section: RewardSection) -> list[Registered]:
    """A recipe's reward functions, options bound.

    Raises:
        RecipeError: no such function, options that it refuses, or two of one name.
    """
    # `reward` imports this package, so it is imported only when it is asked for.
    find = importlib.import_module("reward.registry").find
    found: list[Registered] = [find(item.name, item.options) for item in section.functions]
    names = [function.name for function in found]
    if twice := {name for name in names if names.count(name) > 1}:
        mend = "rename one with @reward(name=...)"
        raise RecipeError(f"two reward functions are named {twice.pop()!r}; {mend}")
    return found


def run_rewards(
    functions: Sequence[Registered], batch: RewardBatch, on_start: Callable[[str], None] | None = None
) -> Columns:
    """Run every function once on the well-formed rows; failed rows get its `worst`.

    Args:
        functions: what to run, in order; no two of one name.
        batch: all rows, failed ones included.
        on_start: told each function's name before it runs, so that a hang has a name.

    Raises:
        RewardError: a function raised, or returned another number of values, something that is no
            float, NaN, an infinity, or less than its `worst`.
    """
    rows = batch.well_formed
    shown = batch if len(rows) == len(batch) else batch.take(rows)
    scores: Columns = {}
    for reward in functions:
        column: list[float | None] = [reward.worst] * len(batch)
        if rows:
            if on_start is not None:
                on_start(reward.name)
            for row, value in zip(rows, _returned(reward, shown), strict=True):
                column[row] = _checked(reward, value, row, batch.texts[row])
        scores[reward.name] = column
    return scores


def weighted(raw: Columns, weights: Mapping[str, float], texts: Sequence[str]) -> list[float]:
    """The weighted sum of each row; a None counts as 0, but some function must apply."""
    totals: list[float] = []
    for row, text in enumerate(texts):
        values = {name: value for name, column in raw.items() if (value := column[row]) is not None}
        if not values:
            problem = "no function applies to this text (all returned None); add one that does"
            raise RewardError(" + ".join(raw), problem, row, text)
        totals.append(sum(weights[name] * value for name, value in values.items()))
    return totals


def _returned(reward: Registered, shown: RewardBatch) -> list[Any]:
    try:
        result = reward.function(shown)
        values = list(_wait(result) if isinstance(result, Awaitable) else result)
    except Exception as error:  # user code may raise anything; the traceback stays behind in the actor
        frames = traceback.extract_tb(error.__traceback__)
        frame = [frame for frame in frames if "site-packages" not in frame.filename][-1]
        where = f"{frame.filename}:{frame.lineno}"
        problem = f"raised {type(error).__name__} at {where} on {len(shown)} texts: {error}"
        raise RewardError(reward.name, problem) from error
    if len(values) != len(shown):
        problem = f"returned {len(values)} values for {len(shown)} texts; return one for each"
        raise RewardError(reward.name, problem)
    return values


def _wait(result: Awaitable[Values]) -> Values:
    """Run an async function to its end, also where this thread already has a loop (notebooks)."""

    async def wrapped() -> Values:
        return await result

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, wrapped()).result()


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
