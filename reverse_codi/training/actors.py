"""The rollout and reward actors of a run: the first stage that asks for them starts them for all stages."""

from __future__ import annotations

import functools
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from reverse_codi.processes.memory import Peak
from reverse_codi.recipe.reasoner import Source
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.pool import RewardPool
from reverse_codi.rollout.pool import RolloutPool
from reverse_codi.training.model_sizes import ModelSizes
from reverse_codi.training.placement import Placement
from reverse_codi.training.runtime import start_ray
from reverse_codi.training.sync_choice import settled

# Names of processes in plans and logs -> the attribute of `Actors` that holds them.
KINDS = {"rollout": "rollouts", "reward": "rewards"}


class Actors:
    """The actors of one run.

    Args:
        recipe: places them.
        base: folder of the reasoner that they load.
        maps: folder of the maps that score.
        stack: closes at its end what was started.
    """

    def __init__(self, recipe: Recipe, base: Path, maps: Path, stack: ExitStack) -> None:
        self.recipe = recipe
        self.base = base
        self.maps = maps
        self._stack = stack

    @functools.cached_property
    def rollouts(self) -> RolloutPool:
        """The engines.

        Raises:
            UserError: Ray offers too little within seconds, or cannot start.
            RolloutInfrastructureError: an actor does not start.
        """
        place = self._placement
        section = settled(self.recipe, ModelSizes.of(self.recipe, Source(path=str(self.base))))
        return self._stack.enter_context(RolloutPool(self.base, section, partial(place.strategy, "rollout")))

    @functools.cached_property
    def rewards(self) -> RewardPool:
        """The scorers.

        Raises:
            UserError: Ray offers too little, or cannot start; or an actor does not start.
        """
        place = partial(self._placement.strategy, "reward")
        pool = RewardPool(self.recipe.reward, str(self.base), self.maps, place)
        return self._stack.enter_context(closing(pool))

    def peaks(self) -> dict[str, Peak]:
        """What each actor that was started has taken so far."""
        pools = {kind: vars(self)[name] for kind, name in KINDS.items() if name in vars(self)}
        return {f"{kind} {i}": peak for kind, pool in pools.items() for i, peak in enumerate(pool.peaks())}

    @functools.cached_property
    def _placement(self) -> Placement:
        """Where the actors of all kinds go, reserved before the first starts."""
        start_ray()
        return self._stack.enter_context(closing(Placement.reserve(self.recipe)))
