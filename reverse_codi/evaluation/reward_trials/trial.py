"""What a reward makes of gold, sampled and worthless texts: can it be won without saying anything?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from reverse_codi.evaluation.reward_trials.bench import WORTHLESS, Bench, TextKind
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.combining import filled, least
from reverse_codi.rewards.declare import RewardSpec
from reverse_codi.rewards.scoring import LocalScorer
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.figures import mean
from reverse_codi.utils.notebook import data_frame, html_line, html_table

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

Values = list[float | None]


@dataclass(frozen=True)
class Spread:
    """How values are distributed.

    Attributes:
        n: texts to which the reward applies; the figures are of these, NaN if there are none.
        mean: their mean.
        low: the first quartile.
        median: the second.
        high: the third.
    """

    n: int
    mean: float
    low: float
    median: float
    high: float

    @staticmethod
    def of(values: Sequence[float | None]) -> Spread:
        """Of the values that are not None."""
        known = [value for value in values if value is not None]
        if not known:
            return Spread(0, *[float("nan")] * 4)
        quartiles = np.quantile(known, [0.25, 0.5, 0.75]).tolist()
        return Spread(len(known), float(np.mean(known)), *quartiles)


@dataclass(frozen=True)
class Trial:
    """A reward's values.

    Attributes:
        reward: which.
        values: of each kind, one value a thought.
        problems: the problem of each thought.
    """

    reward: RewardSpec
    values: dict[TextKind, Values]
    problems: list[int]

    def lead(self, kind: TextKind) -> Interval:
        """By how much gold texts are valued above this kind's, thought by thought; of both that apply."""
        pairs = zip(self.values[TextKind.GOLD], self.values[kind], self.problems, strict=True)
        known = [(a - b, problem) for a, b, problem in pairs if a is not None and b is not None]
        return mean([lead for lead, _ in known], [problem for _, problem in known])

    @property
    def won_by(self) -> list[TextKind]:
        """Worthless kinds that score as well as gold: the lead's 95 % interval is not above 0."""
        return [kind for kind in WORTHLESS if self.lead(kind).low <= 0]

    def to_pandas(self) -> pandas.DataFrame:
        """A row a kind of text: texts, n, mean, low, median, high, and how far gold leads (None for gold)."""
        return data_frame(
            [
                {"texts": str(kind), **asdict(Spread.of(values)), "lead": lead and lead.value}
                for kind, values in self.values.items()
                for lead in [None if kind is TextKind.GOLD else self.lead(kind)]
            ]
        )

    def __repr__(self) -> str:
        """The mean of each kind of text, and which worthless kinds score as well as gold."""
        means = [f"  {kind:<10}{Spread.of(values).mean:.3f}" for kind, values in self.values.items()]
        return "\n".join([self._title(), *means, self._verdict()])

    def _repr_html_(self) -> str:
        """The same with quartiles, for notebooks."""
        rows = []
        for kind, values in self.values.items():
            spread = Spread.of(values)
            figures = (spread.mean, spread.low, spread.median, spread.high)
            lead = None if kind is TextKind.GOLD else self.lead(kind)
            rows.append((kind, spread.n, *(f"{figure:.3f}" for figure in figures), lead))
        head = ("texts", "n", "mean", "25 %", "median", "75 %", "gold leads by")
        return html_line(self._title()) + html_table(head, rows) + html_line(self._verdict())

    def _title(self) -> str:
        n, problems = len(self.problems), len(set(self.problems))
        return f"Trial of {self.reward.name}: {n} thoughts of {problems} problems"

    def _verdict(self) -> str:
        if not self.won_by:
            return "gold leads every worthless kind of text"
        return f"{', '.join(self.won_by)} texts score as well as gold"


def score(reward: RewardSpec, rows: Candidates, bench: Bench) -> Values:
    """The values of rows, as training would have them: failed texts get the reward's `worst`.

    Raises:
        RewardError: the reward raised, or returned what it may not; see `run_rewards`.
    """
    values = _returned(reward, rows, bench)
    return filled(values, rows.failed, least(values) if reward.worst is None else reward.worst)


def run(reward: RewardSpec, bench: Bench) -> Trial:
    """Score every kind of text, each kind as one training step.

    Where no `worst` is declared, failed texts get the least value of all kinds: one kind holds no others.
    """
    rows = {kind: bench.rows(bench.texts[kind]) for kind in TextKind}
    values = {}
    for kind in TextKind:
        torch.manual_seed(bench.seed)
        values[kind] = _returned(reward, rows[kind], bench)
    every = (value for column in values.values() for value in column)
    worst = least(every) if reward.worst is None else reward.worst
    values = {kind: filled(column, rows[kind].failed, worst) for kind, column in values.items()}
    return Trial(reward, values, bench.thoughts.problems)


def _returned(reward: RewardSpec, rows: Candidates, bench: Bench) -> Values:
    """What the function makes of rows; its `worst`, or None where it declares none, for failed ones."""
    return LocalScorer(bench.metric, [reward], [1.0]).share(rows).raw[reward.name]
