"""`--resume`: from which checkpoint, and which settings may differ from those that the run began with.

A setting may change where the rest of the run really follows the new value (`MAY_CHANGE`). It then goes into
recipe.yaml, and metrics.jsonl says from which step on it counts. Any other change is refused, key by key:
either it decides what is learnt from (task, traces, reading, warm start, rewards, the order of the thoughts),
or what the kept figures are compared by (grpo.keep, grpo.eval_thoughts).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from reverse_codi.errors import RecipeError
from reverse_codi.recipe.schema import RECIPE_FILE, Recipe
from reverse_codi.storage.stages import dotted
from reverse_codi.trainers.checkpoints import (
    POLICY_WEIGHTS,
    Checkpoint,
    checkpoint_to_resume,
    complete_checkpoints,
    steps_of,
)
from reverse_codi.utils.config import read_yaml

CHECKPOINTS = "grpo"

# `ThoughtTrainer` gives a loaded optimizer the recipe's rate and schedule; the Monitor gives the Trainer's
# state the recipe's save_every; the rest is read from the recipe at every step.
MAY_CHANGE = (
    "log.*",
    "train.*",
    "distill.*",
    "rollout.*",
    "placement.*",
    "reward.actors",
    "reward.cpus_per_actor",
    "reward.gpus_per_actor",
    "reward.timeout_s",
    "reward.functions.*.timeout_s",
    "trace.on_bad_question",
    "trace.out",
    "*.micro_batch",
    "*.gradient_checkpointing",
    "warm_start.eval_steps",
    "grpo.steps",
    "grpo.learning_rate",
    "grpo.schedule",
    "grpo.beta",
    "grpo.temperature",
    "grpo.max_new_tokens",
    "grpo.clip",
    "grpo.clip_high",
    "grpo.importance_clip",
    "grpo.max_staleness",
    "grpo.canary_tolerance",
    "grpo.eval_every",
    "grpo.save_every",
)
# Not part of what a run learns, so when they changed is not recorded.
NOT_RECORDED = ("log.*", "train.*", "distill.*", "placement.*", "trace.out")

Change = tuple[Any, Any]
"""Old and new value."""


@dataclass(frozen=True)
class Start:
    """Where RL starts.

    Attributes:
        checkpoint: folder that it goes on from; None for a new run.
        changed: settings that it takes over from the new recipe, key -> old and new value.
        notes: what is wrong with newer checkpoints, and that this one was not checked.
        found: this one and the newer ones, which `trainers.checkpoints.set_aside` renames.
    """

    checkpoint: str | None = None
    changed: Mapping[str, Change] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=(), compare=False)
    found: Checkpoint = field(default=Checkpoint(), compare=False)

    @property
    def done(self) -> int:
        """Optimizer steps behind it."""
        return steps_of(self.checkpoint)


NEW = Start()
"""A run that goes on from nothing."""


def start_of(recipe: Recipe, out: Path, resume: bool) -> Start:
    """Where a run into `out` starts; nothing is written or renamed.

    Args:
        recipe: the recipe given now.
        out: folder of the run.
        resume: whether the user asked to go on.

    Raises:
        RecipeError: an earlier run lies there and `resume` is off, or a setting differs that cannot change.
        DamagedError: every checkpoint there is damaged.
    """
    there = complete_checkpoints(out / CHECKPOINTS, POLICY_WEIGHTS)
    if there and not resume:
        raise RecipeError(
            f"{there[0]} is of an earlier run; add --resume to go on from it, or set another train.out"
        )
    anew = f"move {out / CHECKPOINTS} away to begin reinforcement anew"
    found = checkpoint_to_resume(out / CHECKPOINTS, POLICY_WEIGHTS, anew)
    file = out / RECIPE_FILE
    changed: Mapping[str, Change] = {}
    if found.folder is not None and file.is_file():
        changed = taken_over(differences(read_yaml(file), recipe), recipe, file)
    return Start(found.folder, changed, tuple(_notes(found)), found)


def _notes(found: Checkpoint) -> Iterator[str]:
    """What the user should know of the choice of a checkpoint."""
    where = f"the run goes on from {found.folder}" if found.folder else "the run begins anew"
    for why in found.passed.values():
        yield f"{why}; {where}"
    if found.folder and not found.checked:
        yield f"{found.folder} is of version 0.1.0, which kept no checksums: its files were not checked"


def differences(before: Mapping[str, Any], recipe: Recipe) -> dict[str, Change]:
    """Dotted keys whose values differ; a key that an older recipe.yaml lacks had its default.

    Args:
        before: what recipe.yaml holds.
        recipe: the recipe given now.
    """
    now, default = dotted(recipe.model_dump(mode="json")), dotted(Recipe().model_dump(mode="json"))
    then = dotted(before)
    old = {key: then.get(key, default.get(key)) for key in {**now, **then}}
    return {key: (value, now.get(key)) for key, value in old.items() if value != now.get(key)}


def taken_over(changed: Mapping[str, Change], recipe: Recipe, file: Path) -> dict[str, Change]:
    """The changes that a resumed run follows and records.

    Raises:
        RecipeError: names each key that cannot change, with both values.
    """

    def may_change(key: str) -> bool:
        # Which rows are sorted by length depends on how many the run will see.
        ordered = key == "grpo.steps" and recipe.grpo.curriculum != "none"
        return not ordered and any(fnmatch(key, pattern) for pattern in MAY_CHANGE)

    if kept := {key: change for key, change in changed.items() if not may_change(key)}:
        listed = "; ".join(f"{key} was {old!r}, is {new!r}" for key, (old, new) in kept.items())
        raise RecipeError(
            f"--resume cannot change what {file} says: {listed}. Give the old values, or another train.out"
        )
    return {k: change for k, change in changed.items() if not any(fnmatch(k, u) for u in NOT_RECORDED)}
