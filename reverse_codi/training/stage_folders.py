"""The stages that a run's folder keeps for later runs: reading (probes and maps), warm start, reinforcement.

A stage is used again if it was made from the same inputs. Settings are known before any work, and are
checked then; traces and maps only once they are there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reverse_codi.reading.claims import ENCODED_FILE
from reverse_codi.reading.metric import MAPS_FILE
from reverse_codi.recipe.reinforce import Stage
from reverse_codi.recipe.schema import Recipe
from reverse_codi.storage.stages import check_settings
from reverse_codi.training.resuming import start_of
from reverse_codi.verbalize.config import FILE as VERBALIZER_FILE

READING, WARM, REINFORCE = "reading", "warm", "reinforce"
READING_FILES, WARM_FILES = (MAPS_FILE, ENCODED_FILE), (VERBALIZER_FILE,)
# Decides nothing of what a stage learns.
HOW = {"eval_steps", "micro_batch", "gradient_checkpointing"}


def reading_settings(recipe: Recipe) -> dict[str, Any]:
    """What decides how texts are read, but for the training traces, and for what the machine allowed."""
    reading = recipe.reading.model_dump(mode="json", exclude={"memory_gib"})
    return {"reading": reading, "task": recipe.task.model_dump(mode="json")}


def warm_settings(recipe: Recipe) -> dict[str, Any]:
    """What decides the warm start, but for the training traces and the reading."""
    return {
        "warm_start": recipe.warm_start.model_dump(mode="json", exclude=HOW),
        "verbalizer": recipe.verbalizer.model_dump(mode="json"),
    }


def check_stages(recipe: Recipe) -> None:
    """Refuse stages in `train.out` that a former run made with other settings.

    Raises:
        StageError: names the folder and each setting with both values.
    """
    out = Path(recipe.train.out)
    check_settings(out / READING, reading_settings(recipe), READING_FILES)
    check_settings(out / WARM, warm_settings(recipe), WARM_FILES)
    for stage in listed(recipe):
        check_settings(stage_folder(out, stage), stage_settings(recipe, stage), (FIGURES_FILE,))


# ---- stages of reinforcement

FIGURES_FILE = "figures.json"
"""What a finished stage of reinforcement leaves, written last."""


def listed(recipe: Recipe) -> list[Stage]:
    """The stages that have folders of their own: those that `reinforce` lists. GRPO alone uses the run's."""
    return recipe.stages if recipe.reinforce else []


def stage_folder(out: Path, stage: Stage) -> Path:
    """Where a stage of the recipe's `reinforce` lies."""
    return out / REINFORCE / stage.name


def stage_settings(recipe: Recipe, stage: Stage) -> dict[str, Any]:
    """What decides a stage, but for the stages before it."""
    reward = recipe.reward.model_dump(mode="json", include={"functions", "aggregation", "shape"})
    section = stage.section.model_dump(mode="json", exclude=HOW)
    return {"stage": {stage.kind: section}, "reward": reward}


def stage_recipe(recipe: Recipe, stage: Stage) -> Recipe:
    """The recipe of one GRPO stage, as if it were a run in the stage's folder."""
    folder = stage_folder(Path(recipe.train.out), stage)
    train = recipe.train.model_copy(update={"out": str(folder)})
    return recipe.model_copy(update={"grpo": stage.section, "reinforce": [], "train": train})


def check_starts(recipe: Recipe, resume: bool) -> None:
    """Refuse GRPO stages that were stopped, unless the user asks to go on.

    Raises:
        RecipeError: see `resuming.start_of`.
    """
    for stage in listed(recipe):
        folder = stage_folder(Path(recipe.train.out), stage)
        if stage.kind == "grpo" and not (folder / FIGURES_FILE).is_file():
            start_of(stage_recipe(recipe, stage), folder, resume)
