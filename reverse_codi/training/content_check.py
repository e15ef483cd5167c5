"""Whether a match was gained at the cost of what the texts say: such a run stops.

The match is what the rewards ask for, so it can be gained by texts that the reading likes and that are not
true. Whether they are true is seen on held-out thoughts with gold steps. Where the task has none, nothing is
compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from reverse_codi.errors import UserError
from reverse_codi.utils import figures
from reverse_codi.verbalize.scores import Scored, match_gain


class ContentLostError(UserError):
    """Match rises while content falls; what was learnt before is kept."""


class ContentWatch:
    """Compares the texts of each policy of a run with those of the best by content so far.

    Args:
        problems: the problem of each held-out thought.
    """

    def __init__(self, problems: Sequence[int]) -> None:
        self.problems = problems
        self.best: Scored | None = None

    def __call__(self, scored: Scored) -> Scored:
        """The figures as they are.

        Raises:
            ContentLostError: the match rose and the content fell, both by more than their 95 % intervals.
        """
        if self.best is None or scored.content >= self.best.content:
            self.best = scored
            return scored
        match = match_gain(self.best, scored, self.problems)
        content = figures.change(self.best.content_each, scored.content_each, self.problems)
        if match.low > 0 and content.high < 0:
            raise ContentLostError(
                f"the held-out match rose by {match}, but the content of the texts fell by {content} "
                f"({self.best.content:.3f} to {scored.content:.3f}): the texts please the reading and are "
                "less true. The run stops, and what was kept before stays in best/. Add a reward that is "
                "sensitive to content (contrastive), raise grpo.beta, or lower the learning rate"
            )
        return scored
