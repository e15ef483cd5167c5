"""A run's report as an artifact of the trackers that have the run."""

from __future__ import annotations

import logging
from pathlib import Path

from reverse_codi.recipe.schema import RECIPE_FILE, Recipe, recipe_beside
from reverse_codi.trackers.kept_runs import FILE
from reverse_codi.trackers.tracker import TrackerError, check_trackers, log_artifact, tracked
from reverse_codi.utils.config import validated

log = logging.getLogger(__name__)


def keep_report(run: Path, page: Path) -> None:
    """Keep the page where the run's figures are: in a run of its own, `report`, of the training's group.

    A later report goes on in that run, as another version of the artifact. Nothing is kept of a training that
    no tracker has, or whose recipe wants no artifacts. A tracker that is not installed costs no report: a
    notice says so.

    Args:
        run: `train.out`.
        page: the report.
    """
    if not (run / FILE).is_file():
        return
    recipe = validated(Recipe, recipe_beside(run), str(run / RECIPE_FILE))
    if not recipe.log.artifacts:
        return
    try:
        check_trackers(recipe.log)
    except TrackerError as error:
        log.warning(f"the report is no artifact of the run's trackers: {error}")
        return
    with tracked(recipe, "report", run, again=True):
        log_artifact("report", "report", [page])
