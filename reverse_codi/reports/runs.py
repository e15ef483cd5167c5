"""What a report holds of a training run: curves, phase times, sampled texts, memory, recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reverse_codi.recipe.schema import RECIPE_FILE
from reverse_codi.reports.completions import CompletionSample, completion_sample
from reverse_codi.reports.curves import (
    Curves,
    csv_curve,
    heldout_curve,
    phase_seconds,
    stage_curve,
    training_curves,
)
from reverse_codi.storage.json_lines import json_lines
from reverse_codi.training.curves import points
from reverse_codi.training.memory_log import MEMORY
from reverse_codi.training.records import COMPLETIONS, CURVE, METRICS, STAGES, WARM_CURVE
from reverse_codi.training.stage_folders import REINFORCE

# What a run writes while it learns; a folder with none of them is no run.
TRACKS = (METRICS, STAGES, WARM_CURVE, MEMORY)


@dataclass(frozen=True)
class Memory:
    """What one process took in one stage.

    Attributes:
        stage: of the run.
        process: trainer, or an actor by its name.
        seconds: of the stage; None for an actor.
        peak_gib: of the machine's memory.
        gpu_gib: of a GPU.
        planned_gib: what was planned, None where nothing was.
    """

    stage: str
    process: str
    seconds: float | None
    peak_gib: float
    gpu_gib: float
    planned_gib: float | None


@dataclass(frozen=True)
class Learning:
    """One stage that learnt by GRPO.

    Attributes:
        name: of the stage; "" where GRPO is the run's only one.
        heldout: figures of held-out thoughts.
        training: what was logged each step.
        phases: seconds of each phase.
        completions: sampled texts.
    """

    name: str
    heldout: Curves | None
    training: Sequence[Curves]
    phases: Curves | None
    completions: CompletionSample | None


@dataclass(frozen=True)
class RunReport:
    """A report of a run.

    Attributes:
        folder: `train.out`, as the user wrote it.
        overall: held-out figures over all stages, the warm start and the distillations.
        learning: the stages of GRPO.
        memory: what processes took.
        recipe: the resolved recipe, YAML.
        missing: files that a finished run has and this one has not.
    """

    folder: str
    overall: Sequence[Curves]
    learning: Sequence[Learning]
    memory: Sequence[Memory]
    recipe: str
    missing: Sequence[str]


def is_run(folder: Path) -> bool:
    """Whether a folder is the `train.out` of a run that has learnt something, or begun to."""
    return any((folder / name).is_file() for name in TRACKS)


def run_report(folder: Path) -> RunReport:
    """Read what a run wrote, finished or not."""
    stages = sorted((folder / REINFORCE).glob("*/")) if (folder / REINFORCE).is_dir() else []
    found = [
        stage_curve(points(folder)) if (folder / STAGES).is_file() else None,
        csv_curve(folder / WARM_CURVE, "Held-out thoughts in the warm start"),
        *(csv_curve(stage / CURVE, f"Held-out thoughts in {stage.name}") for stage in stages),
    ]
    learning = [_learning("", folder), *(_learning(stage.name, stage) for stage in stages)]
    recipe = folder / RECIPE_FILE
    finished = [RECIPE_FILE, "verbalizer"]
    return RunReport(
        str(folder),
        [curves for curves in found if curves],
        [each for each in learning if each],
        [
            Memory(
                line["stage"],
                line["process"],
                line.get("seconds"),
                line["peak_gib"],
                line["gpu_gib"],
                line["planned_gib"],
            )
            for line in json_lines(folder / MEMORY)
        ],
        recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
        [name for name in finished if not (folder / name).exists()],
    )


def _learning(name: str, folder: Path) -> Learning | None:
    records, completions = list(json_lines(folder / METRICS)), completion_sample(folder / COMPLETIONS)
    if not records and completions is None:
        return None
    return Learning(
        name, heldout_curve(records), training_curves(records), phase_seconds(records), completions
    )
