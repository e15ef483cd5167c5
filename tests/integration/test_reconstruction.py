from __future__ import annotations

from pathlib import Path

import pytest
import ray
import torch
from ray.exceptions import ActorDiedError

from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reconstructor import Reconstructor, Scale
from reverse_codi.reading.reconstructor_actor import CoTrainingSection, SharedCoTraining
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reward import RewardItem, RewardSection
from reverse_codi.rewards.pool import RewardPool
from tests.tiny import make_problems, make_rows

pytestmark = pytest.mark.long

SITE = Site("h", 1)


def scales(metric: ThoughtMetric) -> dict[Site, Scale]:
    return {site: Scale.of(fitted.reference, fitted.mean) for site, fitted in metric.maps.items()}


def section(options: dict[str, object]) -> RewardSection:
    item = RewardItem(name="reconstruction", options={"cpus": 0.5, **options})
    return RewardSection(functions=[item], actors=2, cpus_per_actor=0.5, timeout_s=120)


def test_two_reward_actors_share_one_reconstructor(
    ray_session: None, tiny_folders: tuple[Path, Path], tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    problems = make_problems(16)
    targets = tiny_reasoner.think([p.question for p in problems]).at(SITE)
    rows = make_rows([p.claims[0] for p in problems], targets, SITE)
    out = str(tmp_path / "out")
    pool = RewardPool(section({"out": out, "save_every": 1}), *map(str, tiny_folders))
    steps = [pool.score(rows) for _ in range(3)]
    for scores in steps:
        values = scores.raw["reconstruction"]
        assert len(values) == len(rows) and all(value is not None and -2 <= value <= 1 for value in values)
        assert {"reward/reconstruction/fve", "reward/reconstruction/loss"} <= set(scores.scalars)
    assert steps[-1].scalars["reward/reconstruction/loss"] < steps[0].scalars["reward/reconstruction/loss"]
    # Two shares a step, all of them learnt by the same weights.
    saved = Reconstructor.load(out, tiny_reasoner)
    assert saved.updates == 6
    assert len(ray.util.list_named_actors()) == 1
    pool.close()


def test_an_actor_that_is_gone_is_replaced_and_goes_on(
    ray_session: None, tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric, tmp_path: Path
) -> None:
    given = CoTrainingSection(out=str(tmp_path), save_every=1, cpus=0.5)
    shared = SharedCoTraining(tiny_reasoner, scales(tiny_metric), given)
    texts, sites, targets = ["8 - 3 = 5", "6 + 6 = 12"], [SITE] * 2, torch.ones(2, tiny_reasoner.width)
    before = shared.step(texts, sites, targets)
    ray.kill(shared.actor)  # for good, as when its owner ends
    after = shared.step(texts, sites, targets)
    assert (before.updates, after.updates) == (1, 2)
    assert after.loss < before.loss
    ray.kill(shared.actor)


def test_why_it_cannot_start_is_reported(
    ray_session: None, tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric
) -> None:
    with pytest.raises(ActorDiedError, match="folder 'nowhere' holds no reconstructor"):
        SharedCoTraining(tiny_reasoner, scales(tiny_metric), CoTrainingSection(folder="nowhere", cpus=0.5))
