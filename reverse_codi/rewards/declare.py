"""How a reward function is declared, and what is known of it.

@reward(worst=-1.0)
def my_reward(batch: RewardBatch) -> list[float | None]: ...
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from reverse_codi.recipe.reading import LAYERS
from reverse_codi.rewards.batch import RewardBatch

MARK = "__registered_reward__"

# A name is a part of keys, `reward/NAME/mean` or `correlation/A/B`.
NAME = re.compile(r"[\w.+-]+")

C = TypeVar("C", bound=Callable[..., Any])
Values = Sequence[float | None]
RewardFunction = Callable[[RewardBatch], Values | Awaitable[Values]]
"""One float a row, larger is better; None where it does not apply. May be async."""


@dataclass(frozen=True)
class RewardSpec:
    """A reward function ready to run.

    Attributes:
        name: its column in metrics and tables.
        function: takes a batch, and nothing else.
        worst: what a failed text gets, and the least that the function may return: if it returned
            less, failing would pay. None where it is not declared: a failed text then gets the least value of
            its step (`rewards.combining`).
        description: first line of its docstring.
        supervised: whether it uses gold labels; for ablations only.
        slow: whether it mostly waits, as for a server, and so runs beside the others.
        layers: what it asks for in `RewardBatch.layers`, written as in a ReadSpec.
        timeout_s: seconds that it may take for one batch; finding the row that it hangs on takes up to twice
            as long.
    """

    name: str
    function: RewardFunction
    worst: float | None = None
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


def reward(
    *,
    worst: float | None = None,
    name: str | None = None,
    supervised: bool = False,
    slow: bool = False,
    layers: str = "",
) -> Callable[[C], C]:
    """Declare a function or class as a reward; it is returned unchanged.

    Args:
        worst: what a truncated or empty text gets; at most what the function may return. If None, such a text
            gets the least value of its step.
        name: what recipes and metrics call it; the function's own name if None.
        supervised: it uses gold labels, so it is for ablations only.
        slow: it mostly waits, as for a server: run it beside the others. Async ones always do.
        layers: what it wants in `batch.layers` beside the recipe's: "all", "final" or numbers joined by
            commas (0: embeddings). They come from the one reading that all rewards share.

    Raises:
        ValueError: `worst` is NaN or infinite, `layers` names none, or `name` is more than a word.
    """
    if worst is not None and not math.isfinite(worst):
        raise ValueError(f"worst = {worst}: a failed text's reward must be finite; give the lower bound")
    if layers and not re.match(LAYERS, layers):
        raise ValueError(f"layers = {layers!r}: write 'all', 'final' or numbers joined by commas, as '0,2'")

    def declare(declared: C) -> C:
        description = (inspect.getdoc(declared) or "").partition("\n")[0]
        function = cast(RewardFunction, declared)
        own_name = declared.__name__ if name is None else name
        if not NAME.fullmatch(own_name):
            raise ValueError(
                f"name = {own_name!r}: write letters, digits and _ . + - only, as it is a part of keys"
            )
        record = RewardSpec(own_name, function, worst, description, supervised, slow, layers)
        setattr(declared, MARK, record)
        return declared

    return declare
