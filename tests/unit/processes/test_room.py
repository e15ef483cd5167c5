from __future__ import annotations

import pytest

from reverse_codi.errors import RecipeError
from reverse_codi.processes.room import Ask, Node, check_room

ROLLOUT = ("rollout.actors", "rollout.cpus", "rollout.gpus")
REWARD = ("reward.actors", "reward.cpus_per_actor", "reward.gpus_per_actor")


def rollout(n: int = 1, cpus: float = 1, gpus: float = 0) -> Ask:
    return Ask("rollout", n, cpus, gpus, ROLLOUT)


def reward(n: int = 1, cpus: float = 1, gpus: float = 0) -> Ask:
    return Ask("reward", n, cpus, gpus, REWARD)


@pytest.mark.parametrize(
    ("asks", "nodes"),
    [
        ([rollout(), reward()], [Node(2, 0)]),
        ([rollout(3, 0.4), reward(2, 0.4)], [Node(2, 0)]),
        ([rollout(10, 0.1), reward(10, 0.1)], [Node(2, 0)]),  # in binary, ten tenths are more than 1
        ([rollout(2, 4, 0.5), reward(2, 0, 0.5)], [Node(4, 1), Node(4, 1)]),
        ([], []),
    ],
)
def test_what_fits(asks: list[Ask], nodes: list[Node]) -> None:
    check_room(asks, nodes)


@pytest.mark.parametrize(
    ("asks", "nodes", "message"),
    [
        (
            [rollout(cpus=8), reward()],
            [Node(2, 0)],
            r"ask for 9 CPU \(rollout 1 x 8, reward 1 x 1\), Ray offers 2: lower rollout\.cpus to 1, or join",
        ),
        ([rollout(4), reward()], [Node(2, 0)], r"Ray offers 2: lower rollout\.actors to 1, or join"),
        ([rollout(), reward(6)], [Node(4, 0)], r"Ray offers 4: lower reward\.actors to 3, or join"),
        ([rollout(2, 1.5), reward()], [Node(2, 0)], r"Ray offers 2: lower rollout\.cpus to 0\.5, or join"),
        # neither alone is enough
        ([rollout(cpus=3), reward(cpus=3)], [Node(2, 0)], r"lower rollout\.cpus, reward\.cpus_per_actor, or"),
        ([rollout(gpus=0.7), reward(gpus=0.6)], [Node(8, 1)], r"1\.3 GPU .*lower rollout\.gpus to 0\.4, or"),
        ([rollout(), reward(gpus=0.25)], [Node(8, 0)], r"0\.25 GPU .*, Ray offers 0: set reward\.gpus"),
        (
            [rollout(cpus=4), reward(4)],
            [Node(3, 0), Node(3, 0), Node(3, 0)],
            r"one rollout actor asks for 4 CPU, and no machine .* more than 3: lower rollout\.cpus",
        ),
    ],
)
def test_what_does_not_fit_is_said_with_the_key_and_how_far(
    asks: list[Ask], nodes: list[Node], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        check_room(asks, nodes)
