from __future__ import annotations

import doctest

import pytest
import torch
from torch import Tensor

import reverse_codi.training.advantages
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.reward import RewardSection
from reverse_codi.training.advantages import Advantages, branch_gains, prefix_gains, ranks

# One group of four. The first three begin with 1, the first two with 1 2; the third ends after two tokens.
TOKENS = torch.tensor([[[1, 2, 5], [1, 2, 6], [1, 3, -1], [4, 2, 5]]])
REWARDS = torch.tensor([[8.0, 4.0, 3.0, 1.0]])  # mean 4; of those with 1: 5; of those with 1 2: 6


def test_a_token_gains_what_its_branch_adds() -> None:
    expected = [
        [5.0 - 4, 6.0 - 5, 8.0 - 6],
        [5.0 - 4, 6.0 - 5, 4.0 - 6],
        [5.0 - 4, 3.0 - 5, 0.0],
        [1.0 - 4, 0.0, 0.0],  # alone from its first token on: "2 5" is another prefix than that of the first
    ]
    found = branch_gains(REWARDS, TOKENS)
    assert found[0].tolist() == pytest.approx(torch.tensor(expected).numpy())
    torch.testing.assert_close(found.sum(2), REWARDS - REWARDS.mean())  # they add up to the text's own gain


def test_a_token_gains_over_the_others_that_share_its_prefix() -> None:
    expected = [
        [8 - 8 / 3, 8 - 3.5, 8 - 4.0],  # others: 4, 3, 1; then 4, 3; then 4
        [4 - 4.0, 4 - 5.5, 4 - 8.0],  # others: 8, 3, 1; then 8, 3; then 8
        [3 - 13 / 3, 3 - 6.0, 3 - 6.0],  # others: 8, 4, 1; then 8, 4; this text has ended
        [1 - 5.0, 1 - 5.0, 1 - 5.0],  # no one shares its first token: the group's others stay the baseline
    ]
    torch.testing.assert_close(prefix_gains(REWARDS, TOKENS)[0], torch.tensor(expected))


def test_equal_texts_share_their_gain() -> None:
    tokens, rewards = torch.tensor([[[7, 8], [7, 8], [9, 8]]]), torch.tensor([[2.0, 4.0, 0.0]])
    assert branch_gains(rewards, tokens)[0].tolist() == [[1.0, 0.0], [1.0, 0.0], [-2.0, 0.0]]


def test_groups_do_not_see_each_other() -> None:
    tokens, rewards = torch.cat([TOKENS, TOKENS]), torch.cat([REWARDS, 10 * REWARDS])
    for rule in (branch_gains, prefix_gains):
        both = rule(rewards, tokens)
        torch.testing.assert_close(both[0], rule(REWARDS, TOKENS)[0])
        torch.testing.assert_close(both[1], 10 * rule(REWARDS, TOKENS)[0], atol=1e-5, rtol=1e-5)


def test_ranks_do_not_see_how_far_an_outlier_lies() -> None:
    assert ranks(torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 900.0]])).tolist() == [[-1.0, 0.0, 1.0]] * 2
    assert ranks(torch.tensor([[5.0, 5.0, 5.0]])).tolist() == [[0.0] * 3]
    assert doctest.testmod(reverse_codi.training.advantages).failed == 0


def advantages(shape: str = "value", **section: object) -> Advantages:
    given = GrpoSection.model_validate({"samples": 4, **section})
    made = Advantages.of(given, RewardSection.model_validate({"shape": shape}))
    assert made is not None
    return made


TOTALS = torch.tensor([8.0, 4.0, 3.0, 1.0, 0.0, 0.0, 0.0, 1.0])  # two groups
IDS = torch.tensor([[1, 2, 5], [1, 2, 6], [1, 3, 0], [4, 2, 5]] * 2)
MASK = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 1, 1]] * 2)


def test_what_trl_computes_is_left_to_it() -> None:
    assert Advantages.of(GrpoSection(), RewardSection()) is None


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_ranks_are_scaled_as_rewards_are(scale: str) -> None:
    ranked = torch.tensor([1, 1 / 3, -1 / 3, -1, -1 / 3, -1 / 3, -1 / 3, 1])

    def spread(values: Tensor) -> float:
        return float({"group": values.std(), "batch": ranked.std(), "none": torch.tensor(1.0)}[scale])

    expected = torch.cat([half / spread(half) for half in ranked.split(4)])
    found = advantages("rank", scale_rewards=scale)(TOTALS, IDS, MASK)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("kind", "rule"), [("branch", branch_gains), ("prefix", prefix_gains)])
def test_tokens_gain_in_the_unit_of_texts_and_padding_gains_nothing(kind: str, rule: object) -> None:
    found = advantages(advantage=kind)(TOTALS, IDS, MASK)
    assert found.shape == IDS.shape and found[2, 2] == found[6, 2] == 0
    first = rule(REWARDS, TOKENS)[0] / (REWARDS.std() + 1e-4)  # type: ignore[operator]
    torch.testing.assert_close(found[:4], first * MASK[:4])


def test_ranks_and_prefixes_go_together() -> None:
    found = advantages("rank", advantage="branch", scale_rewards="none")(TOTALS[:4], IDS[:4], MASK[:4])
    # Ranks 1, 1/3, -1/3, -1 have mean 0; those that begin with 1 have mean 1/3, those with 1 2 have 2/3.
    expected = [[1 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, -1 / 3], [1 / 3, -2 / 3, 0], [-1, 0, 0]]
    torch.testing.assert_close(found, torch.tensor(expected))
