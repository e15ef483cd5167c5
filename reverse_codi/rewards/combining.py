"""Combine the rewards of a step: gates, normalisation, weights, correlations."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from reverse_codi.recipe.reward import Over, RewardItem
from reverse_codi.rewards.batch import Columns, RewardError
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.declare import RewardSpec

log = logging.getLogger(__name__)

# As TRL adds to a spread before it divides by it.
EPSILON = 1e-4


@dataclass(frozen=True)
class Combined:
    """What counts of N rows' rewards.

    Attributes:
        raw: what each reward returned, with what failed texts get.
        columns: of each reward, gated and normalised; None where it does not apply.
        weights: of each reward, at this step.
        total: weighted sums; a None counts as 0.
        figures: for the log: how rewards go together and with length, open gates, weights that change.
    """

    raw: Columns
    columns: Columns
    weights: dict[str, float]
    total: list[float]
    figures: dict[str, float]


class Combination:
    """How the rewards of a recipe are combined.

    Args:
        functions: the reward functions.
        items: what the recipe says of each, in the same order; a number is a weight and nothing else.
    """

    def __init__(self, functions: Sequence[RewardSpec], items: Sequence[RewardItem | float]) -> None:
        self.worst = {function.name: function.worst for function in functions}
        self.items = {
            name: item if isinstance(item, RewardItem) else RewardItem(name=name, weight=item)
            for name, item in zip(self.worst, items, strict=True)
        }
        self._warned: set[str] = set()

    def __call__(self, raw: Columns, rows: Candidates, step: int) -> Combined:
        """Combine what the functions returned for all rows of a step.

        Raises:
            RewardError: no function applies to some row.
        """
        failed = rows.failed
        worst = {name: self._worst(name, raw[name], bool(failed)) for name in self.worst}
        raw = {name: filled(column, failed, worst[name]) for name, column in raw.items()}
        figures = correlations(raw, rows)
        columns: Columns = {}
        for name, item in self.items.items():
            column = raw[name]
            if item.gate is not None:
                gate = [value is not None and value > item.gate.above for value in raw[item.gate.by]]
                column = gated(column, gate, worst[name])
                figures[f"gate/{name}"] = sum(gate) / max(1, len(gate))
            if item.normalize is not Over.NOTHING:
                groups = rows.thoughts if item.normalize is Over.GROUP else [0] * len(rows)
                column = normalized(column, groups)
            if column is not raw[name] and (values := [value for value in raw[name] if value is not None]):
                figures[f"raw/{name}"] = math.fsum(values) / len(values)
            if item.schedule is not None:
                figures[f"weight/{name}"] = item.weight_at(step)
            columns[name] = column
        weights = {name: item.weight_at(step) for name, item in self.items.items()}
        return Combined(raw, columns, weights, weighted(columns, weights, rows.texts), figures)

    def _worst(self, name: str, column: Sequence[float | None], needed: bool) -> float:
        """What a failed text of this step gets; says once where the function does not declare it."""
        declared = self.worst[name]
        if declared is not None:
            return declared
        if (needed or self.items[name].gate is not None) and name not in self._warned:
            self._warned.add(name)
            log.warning(
                "reward %r declares no worst value: a failed text (empty or cut off) gets the least value of "
                "its step, so failing may cost nothing; set it with @reward(worst=...)",
                name,
            )
        return least(column)


def least(column: Iterable[float | None]) -> float:
    """The least value of a step, for a reward that declares no `worst`; 0 if it applies to no text.

    >>> least([0.5, None, -2.0]), least([None])
    (-2.0, 0.0)
    """
    return min((value for value in column if value is not None), default=0.0)


def filled(column: Sequence[float | None], failed: Iterable[int], worst: float) -> list[float | None]:
    """A column whose failed rows are `worst`.

    >>> filled([0.5, None, None], [2], -1.0)
    [0.5, None, -1.0]
    """
    rows = set(failed)
    return [worst if row in rows else value for row, value in enumerate(column)]


def gated(column: Sequence[float | None], gate: Sequence[bool], worst: float) -> list[float | None]:
    """`worst` where the gate is closed; None stays None.

    >>> gated([0.5, 0.5, None], [True, False, False], -1.0)
    [0.5, -1.0, None]
    """
    return [value if is_open or value is None else worst for value, is_open in zip(column, gate, strict=True)]


def normalized(column: Sequence[float | None], groups: Sequence[int]) -> list[float | None]:
    """Each value minus its group's mean over its group's spread; 0 in a group whose values are all alike.

    >>> [round(value, 3) for value in normalized([1.0, 3.0, 7.0], [0, 0, 1])]
    [-0.707, 0.707, 0.0]
    """
    rows_of: dict[int, list[int]] = {}
    for row, (value, group) in enumerate(zip(column, groups, strict=True)):
        if value is not None:
            rows_of.setdefault(group, []).append(row)
    out: list[float | None] = [None] * len(column)
    for rows in rows_of.values():
        values = torch.tensor([column[row] for row in rows], dtype=torch.float64)
        spread = values.std() if len(rows) > 1 else 0.0
        for row, value in zip(rows, ((values - values.mean()) / (spread + EPSILON)).tolist(), strict=True):
            out[row] = value
    return out


def weighted(columns: Columns, weights: Mapping[str, float], texts: Sequence[str]) -> list[float]:
    """The weighted sum of each row; a None counts as 0, but some function must apply."""
    totals: list[float] = []
    for row, text in enumerate(texts):
        values = {name: value for name, column in columns.items() if (value := column[row]) is not None}
        if not values:
            fix = "add one that applies to every text, as brevity does"
            problem = f"no function applies to this text (all returned None); {fix}"
            raise RewardError(" + ".join(columns), problem, row, text)
        totals.append(sum(weights[name] * value for name, value in values.items()))
    return totals


def correlations(raw: Columns, rows: Candidates) -> dict[str, float]:
    """Pearson's, of each two rewards and of each with the length in tokens, over well-formed rows.

    Failed rows are left out: they are at the worst of every reward at once. A pair of which one side does not
    vary has none.
    """
    good = rows.well_formed
    # Keys of their own: a reward may be called "length" too.
    length: list[float | None] = [float(len(ids)) for ids in rows.token_ids]
    compared = {f"correlation/{a}/{b}": (raw[a], raw[b]) for a, b in itertools.combinations(raw, 2)}
    compared |= {f"length_correlation/{name}": (column, length) for name, column in raw.items()}
    found: dict[str, float] = {}
    for key, (one, other) in compared.items():
        pairs = [(one[row], other[row]) for row in good]
        both = [pair for pair in pairs if None not in pair]
        if len(both) > 1:
            value = torch.corrcoef(torch.tensor(both, dtype=torch.float64).T)[0, 1].item()
            if math.isfinite(value):
                found[key] = value
    return found
