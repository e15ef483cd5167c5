"""The two stages that a run's folder keeps for later runs: reading (probes and maps) and warm start.

A stage is used again if it was made from the same inputs. Settings are known before any work, and are
checked then; traces and maps only once they are there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reverse_codi.reading.claims import ENCODED_FILE
from reverse_codi.reading.metric import MAPS_FILE
from reverse_codi.recipe.schema import Recipe
from reverse_codi.utils.stages import check_settings
from reverse_codi.verbalize.config import FILE as VERBALIZER_FILE

READING, WARM = "reading", "warm"
READING_FILES, WARM_FILES = (MAPS_FILE, ENCODED_FILE), (VERBALIZER_FILE,)


def reading_settings(recipe: Recipe) -> dict[str, Any]:
    """What decides how texts are read, but for the training traces."""
    return {"reading": recipe.reading.model_dump(mode="json"), "task": recipe.task.model_dump(mode="json")}


def warm_settings(recipe: Recipe) -> dict[str, Any]:
    """What decides the warm start, but for the training traces and the reading."""
    return {
        "warm_start": recipe.warm_start.model_dump(mode="json", exclude={"eval_steps"}),
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
