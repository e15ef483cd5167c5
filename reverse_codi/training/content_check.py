"""Whether a match was gained at the cost of what the texts say: such a run stops.

The match is what the rewards ask for, so it can be gained by texts that the reading likes and that are not
true. Whether they are true is seen on held-out thoughts with gold steps. Where the task has none, nothing is
compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from reverse_codi.utils import figures
from reverse_codi.utils.config import UserError
from reverse_codi.verbalize.scores import Scored, match_gain


class ContentLostError(UserError):
    """Match rises while content falls; what was learnt before is kept."""


def check_content(before: Scored, after: Scored, problems: Sequence[int], where: str) -> None:
    """Compare the texts of two policies for the same held-out thoughts.

    Args:
        before: of the policy at the start.
        after: of the policy now.
        problems: the problem of each thought.
        where: names the stage or step, for the message.

    Raises:
        ContentLostError: the match rose and the content fell, both by more than their 95 % intervals.
    """
    match = match_gain(before, after, problems)
    content = figures.change(before.content_each, after.content_each, problems)
    if match.low > 0 and content.high < 0:
        raise ContentLostError(
            f"{where}: the held-out match rose by {match}, but the content of the texts fell by {content} "
            f"({before.content:.3f} to {after.content:.3f}): the texts please the reading and are less true. "
            "What was kept before stays in best/. Add a reward that is sensitive to content "
            "(contrastive), raise grpo.beta, or lower the learning rate of this stage"
        )
