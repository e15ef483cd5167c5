"""What a reward function is: what it is shown, what is known of it, and its errors.

Shapes: N texts, F features, P points of the ReadSpec, d width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from reverse_codi.errors import UserError
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.base import Reasoner
from reverse_codi.rewards.candidates import Candidates


@dataclass(frozen=True, kw_only=True)
class RewardBatch(Candidates):
    """What a reward function is shown: well-formed rows only, already read.

    A batch is one actor's share of a step, so a row's value may depend on that row and on `step` alone. Lists
    are a function's own; tensors are shared by all functions, and writing into one is an error.

    Attributes:
        states: [N, F] the frozen model's states on the texts, as the recipe's ReadSpec takes them.
        predicted: [N, d] the thoughts that these states map to.
        metric: reads further texts (`predict`) and compares (`distance`, `match`); a text that was read
            before in this step costs nothing.
        log: records a scalar under a name, which becomes the figure `reward/REWARD/name`; averaged over the
            rows of a step.
        layers: where a reward asks for some with `@reward(layers=...)`, the states by layer (0: embeddings),
            [N, P, d] each: those asked for and the ReadSpec's, all from the one pass that `states` is from.
    """

    states: Tensor
    predicted: Tensor
    metric: ThoughtMetric
    log: Callable[[str, float], None]
    layers: dict[int, Tensor] = field(default_factory=dict)

    @property
    def reasoner(self) -> Reasoner:
        """The frozen model that thought and reads."""
        return self.metric.reader.reasoner


FIGURES = "reward/"
"""What keys begin with that hold a name which a user chose."""
Columns = dict[str, list[float | None]]


def figure(reward: str, name: str = "") -> str:
    """The key of a reward, or of a scalar that it logs, among a run's figures and columns.

    Users choose these names, so they have a name space of their own: `step`, `loss` or `match` are ours.

    >>> figure("brevity"), figure("contrastive", "top1")
    ('reward/brevity', 'reward/contrastive/top1')
    """
    return f"{FIGURES}{reward}/{name}" if name else f"{FIGURES}{reward}"


class RewardError(UserError):
    """A reward function failed on a row, or returned what it may not.

    Args:
        name: the reward function.
        problem: what was wrong, and what to do.
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
