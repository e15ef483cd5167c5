from __future__ import annotations

from typing import Any

import pytest

from reverse_codi.errors import RecipeError
from reverse_codi.processes.room import Node
from reverse_codi.recipe.placement import PlacementSection
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training.placement import Placement, bundles, check_placement, in_group
from reverse_codi.utils.config import override, validated


def recipe(*words: str) -> Recipe:
    values: dict[str, Any] = {"rollout": {"actors": 2, "gpus": 0.3}, "reward": {"gpus_per_actor": 0.2}}
    return validated(Recipe, override(values, words), "recipe")


def made(*words: str) -> list[tuple[dict[str, int], dict[str, float]]]:
    asked = recipe(*words)
    return [(bundle.holds, bundle.resources) for bundle in bundles(in_group(asked), asked.placement)]


def test_apart_each_actor_has_a_bundle() -> None:
    assert made() == [
        ({"rollout": 0}, {"CPU": 1, "GPU": 0.3}),
        ({"rollout": 1}, {"CPU": 1, "GPU": 0.3}),
        ({"reward": 0}, {"CPU": 1, "GPU": 0.2}),
    ]


def test_colocated_actors_share_the_bundle_of_their_number() -> None:
    assert made("--placement.colocate", "[rollout, reward]", "--reward.actors", "3") == [
        ({"rollout": 0, "reward": 0}, {"CPU": 2, "GPU": 0.5}),
        ({"rollout": 1, "reward": 1}, {"CPU": 2, "GPU": 0.5}),
        ({"reward": 2}, {"CPU": 1, "GPU": 0.2}),
    ]


def test_what_is_kept_for_the_trainer_comes_first() -> None:
    kept = ["--placement.trainer_gpus", "0.5", "--placement.trainer_cpus", "2"]
    assert made(*kept)[0] == ({"trainer": 0}, {"CPU": 2, "GPU": 0.5})
    beside = made(*kept, "--placement.colocate", "[rollout, reward, trainer]")
    assert beside[0] == ({"trainer": 0, "rollout": 0, "reward": 0}, {"CPU": 4, "GPU": 1.0})
    assert made("--placement.colocate", "[reward, trainer]")[0] == (
        {"trainer": 0, "reward": 0}, {"CPU": 1, "GPU": 0.2},
    )  # fmt: skip


def test_actors_that_ask_for_nothing_are_in_no_bundle() -> None:
    nothing = ["--reward.cpus_per_actor", "0", "--reward.gpus_per_actor", "0"]
    assert [holds for holds, _ in made(*nothing)] == [{"rollout": 0}, {"rollout": 1}]
    asked = recipe(*nothing)
    placed = Placement(None, bundles(in_group(asked), asked.placement))
    assert placed.strategy("reward", 0) == "DEFAULT"


@pytest.mark.parametrize(("gpus", "fits"), [("0.7", True), ("0.8", True), ("0.9", False), ("1.8", True)])
def test_shares_of_colocated_actors_are_of_one_gpu_or_make_whole_ones(gpus: str, fits: bool) -> None:
    words = ["--placement.colocate", "[rollout, reward]", "--rollout.actors", "1", "--rollout.gpus", gpus]
    if fits:
        made(*words)
        return
    with pytest.raises(RecipeError, match=r"rollout and reward together take 1\.1 GPU; Ray gives a share"):
        made(*words)


@pytest.mark.parametrize("given", [["rollout"], ["rollout", "rollout"], ["rollout", "actor"]])
def test_what_cannot_be_colocated_is_refused(given: list[str]) -> None:
    with pytest.raises(RecipeError, match=r"placement\.colocate"):
        validated(Recipe, {"placement": {"colocate": given}}, "recipe")
    assert PlacementSection(colocate=[]).colocate == []


NODES = [Node(4, 1), Node(4, 1)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rollout.cpus", "8"], r"ask for 17 CPU .*, Ray offers 8: lower rollout\.cpus to 3\.5, or join"),
        (["--rollout.gpus", "1"], r"ask for 2\.2 GPU .*, Ray offers 2: lower rollout\.actors to 1, or join"),
        (
            ["--placement.strategy", "STRICT_SPREAD"],
            r"STRICT_SPREAD puts each of 3 bundles on a machine of its own, and the cluster has 2",
        ),
        (
            ["--placement.strategy", "STRICT_PACK", "--rollout.cpus", "2"],
            r"STRICT_PACK puts 5 CPU \(rollout 2 x 2, reward 1 x 1\) on one machine, and the largest has 4",
        ),
        (
            ["--placement.strategy", "STRICT_PACK", "--rollout.gpus", "0.5"],
            r"STRICT_PACK puts 1\.2 GPU .* on one machine, and the largest has 1: set PACK",
        ),
        (["--placement.trainer_gpus", "1"], r"trainer_gpus = 1, but the trainer .*device = cpu; set"),
        (
            ["--reasoner.device", "cuda", "--placement.trainer_gpus", "2"],
            r"ask for 2\.8 GPU .*trainer 1 x 2.*lower placement\.trainer_gpus to 1\.2",
        ),
    ],
)
def test_what_an_empty_cluster_could_not_hold_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check_placement(recipe(*words), NODES)


@pytest.mark.parametrize("strategy", ["PACK", "SPREAD", "STRICT_PACK"])
def test_what_it_could_hold_passes(strategy: str) -> None:
    check_placement(recipe("--placement.strategy", strategy), NODES)
    together = ["--placement.strategy", "STRICT_SPREAD", "--placement.colocate", "[rollout, reward]"]
    check_placement(recipe(*together), NODES)
