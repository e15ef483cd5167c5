"""What a text, or each of its tokens, gains over the other texts of its group.

TRL computes the advantage of a text itself. Here is what it has no option for: ranks in place of rewards, and
advantages by token. Texts of one group that begin alike form a tree; where they part, the mean reward of each
branch says what the next token is worth. So a group is its own value function and nothing more is read.

Shapes: B texts, G of them a group, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reverse_codi.recipe.grpo import Advantage, GrpoSection
from reverse_codi.recipe.reward import RewardSection, Shape

# As TRL adds to a spread before it divides by it.
EPSILON = 1e-4
_PAD = -1


class Advantages:
    """Advantages in place of TRL's.

    Args:
        section: the group's size, the kind of advantage, what they are divided by.
        shape: what counts of a group's rewards.
    """

    def __init__(self, section: GrpoSection, shape: Shape) -> None:
        self.section = section
        self.shape = shape

    @classmethod
    def of(cls, section: GrpoSection, rewards: RewardSection) -> Advantages | None:
        """What a recipe asks for; None where it is what TRL computes."""
        if section.advantage is Advantage.TEXT and rewards.shape is Shape.VALUE:
            return None
        return cls(section, rewards.shape)

    def __call__(self, totals: Tensor, ids: Tensor, mask: Tensor, everywhere: Tensor | None = None) -> Tensor:
        """Advantages [B], or [B, T] of tokens.

        Args:
            totals: [B] rewards, the texts of a group in a run.
            ids: [B, T] tokens.
            mask: [B, T] 1 where a text has a token.
            everywhere: rewards of all workers, where several train; `totals` otherwise.
        """
        grouped = self._counted(totals)  # [B / G, G]
        scaled = grouped / self._spread(grouped, totals if everywhere is None else everywhere)
        if self.section.advantage is Advantage.TEXT:
            return (scaled - scaled.mean(1, keepdim=True)).flatten()
        tokens = ids.masked_fill(mask == 0, _PAD).view(*grouped.shape, -1)  # [B / G, G, T]
        rule = branch_gains if self.section.advantage is Advantage.BRANCH else prefix_gains
        return rule(scaled, tokens).view_as(ids) * mask

    def _counted(self, totals: Tensor) -> Tensor:
        """What counts of rewards [B], in their groups [B / G, G]."""
        grouped = totals.view(-1, self.section.samples)
        return ranks(grouped) if self.shape is Shape.RANK else grouped

    def _spread(self, grouped: Tensor, everywhere: Tensor) -> Tensor | float:
        match self.section.scale_rewards:
            case "group":
                return grouped.std(1, keepdim=True) + EPSILON
            case "batch":
                return self._counted(everywhere).std() + EPSILON
            case "none":
                return 1.0


def ranks(rewards: Tensor) -> Tensor:
    """Ranks in each group, from -1 (the worst) to 1 (the best); equal rewards share their mean rank.

    Args:
        rewards: [N, G].

    >>> ranks(torch.tensor([[0.0, 9.0, 0.5], [2.0, 2.0, 1.0]])).tolist()
    [[-1.0, 1.0, 0.0], [0.5, 0.5, -1.0]]
    """
    below = (rewards[:, :, None] > rewards[:, None, :]).sum(2)  # [N, G]
    above = (rewards[:, :, None] < rewards[:, None, :]).sum(2)
    return (below - above) / (rewards.shape[1] - 1)


def shared(tokens: Tensor) -> Tensor:
    """Whether two texts of a group have their first t tokens in common, t = 0 to T: [N, G, G, T + 1].

    Args:
        tokens: [N, G, T]; below 0 where a text has ended.
    """
    alike = (tokens[:, :, None] == tokens[:, None, :]).cumprod(3)  # [N, G, G, T]
    return torch.cat([torch.ones_like(alike[..., :1]), alike], 3).float()


def branch_gains(rewards: Tensor, tokens: Tensor) -> Tensor:
    """What each token adds: the mean reward of the texts that go on with it, less that of all at this place.

    A text's gains add up to its reward less the group's mean (if no other text is equal). Tokens after the
    last place where it parts from others gain 0.

    Args:
        rewards: [N, G].
        tokens: [N, G, T]; below 0 where a text has ended.

    Returns:
        [N, G, T].
    """
    with_prefix = shared(tokens)
    means = torch.einsum("nijt,nj->nit", with_prefix, rewards) / with_prefix.sum(2)  # [N, G, T + 1]
    return means[..., 1:] - means[..., :-1]


def prefix_gains(rewards: Tensor, tokens: Tensor) -> Tensor:
    """A text's reward less the mean of the others that share its prefix, at each token.

    The others that share a prefix are independent continuations of it, so their mean is a baseline without
    bias (leave one out, arXiv 2402.14740). Where no other is left, the last such mean stays.

    Args:
        rewards: [N, G].
        tokens: [N, G, T]; below 0 where a text has ended.

    Returns:
        [N, G, T].
    """
    others = shared(tokens)[..., :-1]  # [N, G, G, T] before each token
    others = others * (1 - torch.eye(tokens.shape[1]).to(others))[:, :, None]
    count = others.sum(2)  # [N, G, T], falls with t
    means = torch.einsum("nijt,nj->nit", others, rewards) / count.clamp(min=1)
    last = (count > 0).sum(2, keepdim=True) - 1  # the last place with company; the first always has
    places = torch.arange(tokens.shape[2], device=tokens.device).expand_as(means)
    return rewards[..., None] - means.gather(2, torch.minimum(places, last))
