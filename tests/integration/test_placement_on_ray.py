"""Placement groups on a real Ray: two nodes on this machine, with 2 CPUs and a GPU that is not there each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

import pytest

from tests.clusters import ROOT

pytestmark = pytest.mark.long

SCRIPT = """
import json, time
from contextlib import closing
import ray
from ray.cluster_utils import Cluster
from reverse_codi.recipe.schema import Recipe
from reverse_codi.training.placement import Placement
from reverse_codi.utils.config import RecipeError, override, validated

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 1})
cluster.add_node(num_cpus=2, num_gpus=1)
ray.init(address=cluster.address, log_to_driver=False)


@ray.remote
class Actor:
    def where(self):
        return [ray.get_runtime_context().get_node_id()[:8], [int(gpu) for gpu in ray.get_gpu_ids()]]


def recipe(*words):
    base = {"rollout": {"cpus": 0.5}, "reward": {"cpus_per_actor": 0.5}}
    return validated(Recipe, override(base, words), "recipe")


def placed(*words):
    asked = recipe(*words)
    with closing(Placement.reserve(asked)) as place:
        actors = {}
        for kind, n, cpus, gpus in (
            ("rollout", asked.rollout.actors, asked.rollout.cpus, asked.rollout.gpus),
            ("reward", asked.reward.actors, asked.reward.cpus_per_actor, asked.reward.gpus_per_actor),
        ):
            for i in range(n):
                options = {"num_cpus": cpus, "num_gpus": gpus, "scheduling_strategy": place.strategy(kind, i)}
                actors[f"{kind} {i}"] = Actor.options(**options)
        running = {name: actor.remote() for name, actor in actors.items()}
        found = {name: ray.get(actor.where.remote(), timeout=60) for name, actor in running.items()}
        again = next(iter(running))
        ray.kill(running[again])  # a new one goes where the former was
        found["again"] = ray.get(actors[again].remote().where.remote(), timeout=60)
        if asked.placement.trainer_gpus:
            found["trainer"] = place.trainer_gpus(asked.placement.trainer_gpus)
        return found


def refused(*words):
    began = time.monotonic()
    try:
        Placement.reserve(recipe(*words))
    except RecipeError as error:
        return [time.monotonic() - began, str(error)]


two = ["--rollout.actors", "2", "--reward.actors", "2"]
two += ["--rollout.gpus", "0.5", "--reward.gpus_per_actor", "0.5"]
result = {
    "here": ray.get_runtime_context().get_node_id()[:8],
    "colocated": placed(*two, "--placement.colocate", "[rollout, reward]"),
    "spread": placed("--placement.strategy", "STRICT_SPREAD"),
    "packed": placed("--placement.strategy", "STRICT_PACK"),
    "trainer": placed("--placement.trainer_gpus", "1", "--reasoner.device", "cuda", "--rollout.gpus", "1"),
    "other device": refused("--placement.trainer_gpus", "1", "--reasoner.device", "cuda:3"),
    "too much": refused("--rollout.cpus", "8"),
    "too wide": refused("--rollout.cpus", "3"),
}
holder = Actor.options(num_cpus=2).remote()
ray.get(holder.where.remote())
result["taken"] = refused("--rollout.cpus", "2", "--reward.cpus_per_actor", "1")
ray.kill(holder)
while ray.available_resources().get("CPU", 0) < 4:
    time.sleep(0.1)
result["free again"] = placed("--rollout.cpus", "2", "--reward.cpus_per_actor", "1")
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    # A folder of its own: elsewhere on this machine `ray.init` must not join these nodes.
    folder = tempfile.mkdtemp(prefix="rp-", dir="/tmp")
    environment |= {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": folder}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=280
    )
    shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_colocated_actors_are_on_one_gpu(found: dict[str, Any]) -> None:
    place = found["colocated"]
    assert place["rollout 0"] == place["reward 0"] and place["rollout 1"] == place["reward 1"]
    assert place["rollout 0"][0] != place["rollout 1"][0]  # each node has one GPU, and a pair takes it whole
    assert all(len(gpus) == 1 for name, (_, gpus) in place.items())


def test_the_strategy_decides_about_machines(found: dict[str, Any]) -> None:
    assert found["spread"]["rollout 0"][0] != found["spread"]["reward 0"][0]
    assert found["packed"]["rollout 0"][0] == found["packed"]["reward 0"][0]


@pytest.mark.parametrize("case", ["colocated", "spread", "packed"])
def test_an_actor_that_is_started_again_goes_where_it_was(case: str, found: dict[str, Any]) -> None:
    assert found[case]["again"] == found[case]["rollout 0"]


def test_what_is_kept_for_the_trainer_is_on_its_machine(found: dict[str, Any]) -> None:
    place = found["trainer"]
    assert place["trainer"] == [0]
    assert place["rollout 0"][0] != found["here"]  # the GPU here is the trainer's
    seconds, message = found["other device"]
    assert "Ray keeps GPU 0 for the trainer" in message
    assert "reasoner.device = cuda:3 is GPU 3: set reasoner.device: cuda:0" in message
    assert seconds < 10


def test_too_little_is_an_error_at_once(found: dict[str, Any]) -> None:
    seconds, message = found["too much"]
    assert "ask for 8.5 CPU (rollout 1 x 8, reward 1 x 0.5), Ray offers 4: " in message
    assert "lower rollout.cpus to 3.5" in message and seconds < 2
    seconds, message = found["too wide"]
    assert "no machine of the cluster has more than 2: lower rollout.cpus" in message and seconds < 2


def test_what_others_hold_is_an_error_within_ten_seconds(found: dict[str, Any]) -> None:
    seconds, message = found["taken"]
    assert seconds < 10
    assert "could not place the run's actors" in message
    assert "ask for 3 CPU (rollout 1 x 2, reward 1 x 1) of 4, of which 2 are free" in message
    assert "rollout.cpus" in message and "reward.cpus_per_actor" in message
    assert found["free again"]["rollout 0"][0]
