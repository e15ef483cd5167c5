"""What a folder of `distill` was begun with: a later call may change only what has not been learnt yet.

Finished phases are loaded, and a phase that stopped goes on from its checkpoint. A changed setting would not
reach them, and the recipe would say what is not so.
"""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from reverse_codi.config import RecipeError, read_yaml
from reverse_codi.files import write_whole
from reverse_codi.recipe import Recipe
from reverse_codi.resuming import differences
from reverse_codi.trainer_checkpoints import WEIGHTS, complete_checkpoints

SETTINGS = "distill.yaml"
# In their order; each has a section of the recipe.
PHASES = ("recall", "written", "latent")
# No part of what is learnt; `max_written_tokens` goes into the finished reasoner's configuration alone.
FREE = ("distill.out", "distill.threads", "distill.save_steps", "distill.max_written_tokens")
# Followed by a phase that is not finished, see `trainer_checkpoints.take_rate`.
FOLLOWED = ("distill.*.learning_rate", "distill.*.steps")


def check_settings(recipe: Recipe) -> None:
    """Refuse a recipe that differs in what `distill.out` has learnt already; nothing is written.

    Raises:
        RecipeError: names each key with both values.
    """
    out = Path(recipe.distill.out)
    begun, finished = _phases(out)
    if not begun or not (out / SETTINGS).is_file():
        return

    def kept(key: str) -> bool:
        if not key.startswith(("task.", "distill.")) or any(fnmatch(key, free) for free in FREE):
            return False
        phase = key.split(".")[1]
        if key.startswith("task.") or phase not in PHASES:
            return True
        if phase in finished or begun & set(PHASES[PHASES.index(phase) + 1 :]):
            return True
        return phase in begun and not any(fnmatch(key, pattern) for pattern in FOLLOWED)

    changed = {key: both for key, both in differences(read_yaml(out / SETTINGS), recipe).items() if kept(key)}
    if changed:
        listed = "; ".join(f"{key} was {old!r}, is {new!r}" for key, (old, new) in changed.items())
        raise RecipeError(
            f"{out} was begun with other settings: {listed}. Give the old values, or set another distill.out"
        )


def write_settings(recipe: Recipe) -> None:
    """Note what `distill.out` is made with."""
    out = Path(recipe.distill.out)
    out.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = recipe.model_dump(mode="json", include={"task", "distill"})
    write_whole(out / SETTINGS, yaml.safe_dump(values, sort_keys=False))


def _phases(out: Path) -> tuple[set[str], set[str]]:
    """Phases that have learnt something, and those that are finished; Coconut's stages are `latent`."""
    begun, finished = set(), set()
    for folder in (path for path in out.glob("*") if path.is_dir()):
        name = folder.name if folder.name in PHASES else PHASES[-1]
        done = (folder / WEIGHTS).is_file()
        if done or complete_checkpoints(folder):
            begun.add(name)
        if done and folder.name in (*PHASES, "answer"):  # Coconut's last stage
            finished.add(name)
    return begun, finished
