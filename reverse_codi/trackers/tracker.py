"""Trackers of a run: Weights & Biases, TensorBoard, trackio, as the recipe's `log.report_to` names them.

A training is a group of runs: one for each stage, whose curves are of one trainer, and around them one for
the whole (`train`), with what each stage cost and was worth. What is logged goes to the innermost open run.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reverse_codi.errors import UserError
from reverse_codi.storage.files import nulled
from reverse_codi.storage.job import in_working_copy
from reverse_codi.trackers.base import Row, RunSpec, Tracker
from reverse_codi.trackers.kept_runs import KeptRuns

if TYPE_CHECKING:  # it takes seconds, and a recipe may ask for no tracker
    from transformers import TrainerCallback

WHOLE = "train"
"""The run around those of the stages."""
STEPS, STAGES = "train/global_step", "stage"
"""What steps count: in the run of a stage, as transformers calls it, and in the one around them."""
EXTRAS = {"wandb": "train", "tensorboard": "trackers", "trackio": "trackers"}
"""The extra of the package that brings each tracker."""


class TrackerError(UserError):
    """A tracker cannot be used; the message says what to do."""


class LogSettings(Protocol):
    """What a recipe says of trackers, its section `log`."""

    @property
    def report_to(self) -> Sequence[str]:
        """Names of trackers."""
        ...

    @property
    def project(self) -> str:
        """What all runs lie in."""
        ...

    @property
    def completions(self) -> int:
        """Rows of a table."""
        ...

    @property
    def artifacts(self) -> bool:
        """Whether files are kept."""
        ...


class Logged(Protocol):
    """A recipe."""

    @property
    def log(self) -> LogSettings:
        """Its section `log`."""
        ...

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """All of it, as JSON has it."""
        ...


@dataclass(frozen=True)
class OpenRun:
    """The same run in each tracker.

    Attributes:
        trackers: one for each name of `log.report_to`.
        kept: the group.
        again: an earlier process began it.
        settings: the recipe's.
    """

    trackers: Sequence[Tracker]
    kept: KeptRuns
    again: bool
    settings: LogSettings

    def log(self, figures: Mapping[str, Any], step: int | None = None) -> None:
        """Send what is a number."""
        numbers = {name: value for name, value in figures.items() if isinstance(value, int | float)}
        for tracker in self.trackers if numbers else ():
            tracker.log(numbers, step)

    def configure(self, values: Mapping[str, Any]) -> None:
        """Keep settings."""
        for tracker in self.trackers:
            tracker.configure(values)


_open: list[OpenRun] = []


def check_trackers(settings: LogSettings) -> None:
    """Refuse trackers whose package is not installed; imports none.

    Raises:
        TrackerError: names the package and how to install it.
    """
    for name in settings.report_to:
        if importlib.util.find_spec(name) is None:
            raise TrackerError(
                f"log.report_to names {name}, which is not installed: "
                f"pip install 'reverse_codi[{EXTRAS[name]}]', or take it out of log.report_to"
            )


def start_trackers(settings: LogSettings) -> None:
    """`check_trackers`, and ask W&B's server now whether it can be used: a run is kept offline if not."""
    check_trackers(settings)
    if "wandb" in settings.report_to:
        from reverse_codi.trackers.wandb_server import start_wandb

        start_wandb(settings.project)


def _stays(out: Path) -> Path | None:
    """The folder for W&B's files in place of a working directory that Ray deletes; None where it stays."""
    if not in_working_copy(".") or "WANDB_DIR" in os.environ:
        return None
    out.mkdir(parents=True, exist_ok=True)  # W&B takes the temporary folder in place of one that is not there
    return out


@contextmanager
def tracked(
    recipe: Logged,
    stage: str,
    out: Path,
    *,
    job: str = "",
    again: bool = False,
    first: int = 0,
    axis: str = STEPS,
    files: Path | None = None,
    beside: Path | None = None,
) -> Iterator[list[TrainerCallback]]:
    """A run of one stage in each tracker of the recipe; the end of the block ends it.

    Within the run of the whole training, the group is that one's, wherever the stage has its folder.

    Args:
        recipe: names the trackers; all of it is the run's configuration.
        stage: name of the run.
        out: folder of the training; its `trackers.json` keeps group and ids.
        job: kind of the stage; its name if "".
        again: go on with the run that an earlier process began.
        first: the first step that this process sends.
        axis: what steps count.
        files: where W&B keeps its files; if None `wandb/` in the working directory, in a Ray job in `out`.
        beside: a folder whose group the run joins, if there is one.

    Yields:
        Callbacks for a Trainer, which send what it logs; to be called after all that add figures.
    """
    settings = recipe.log
    if not settings.report_to:
        yield []
        return
    from reverse_codi.trackers.reporting import Reporting

    kept = _open[0].kept if _open else KeptRuns(out, beside)
    again = again and stage in kept.runs
    spec = RunSpec(
        project=settings.project,
        group=kept.group,
        stage=stage,
        job=job or stage,
        id=kept.id_of(stage, again),
        again=again,
        first=first if again else 0,
        out=kept.folder,
        files=files or _stays(kept.folder),
        axis=axis,
        config=recipe.model_dump(mode="json"),
    )
    with ExitStack() as stack:
        trackers = []
        for name in settings.report_to:
            tracker = _opened(name, spec)
            stack.push(lambda kind, *_, tracker=tracker: tracker.close(failed=kind is not None))
            trackers.append(tracker)
        run = OpenRun(trackers, kept, again, settings)
        _open.append(run)
        stack.callback(_open.remove, run)
        yield [Reporting(run.log, run.configure)]


def _opened(name: str, spec: RunSpec) -> Tracker:
    """Begin a run in one tracker; only now is its package imported."""
    if name == "wandb":
        from reverse_codi.trackers import wandb_runs

        return wandb_runs.open_run(spec)
    if name == "tensorboard":
        from reverse_codi.trackers import tensorboard_runs

        return tensorboard_runs.open_run(spec)
    from reverse_codi.trackers import trackio_runs

    return trackio_runs.open_run(spec)


def continued() -> bool:
    """Whether the open run goes on from what an earlier process sent."""
    return bool(_open) and _open[-1].again


def log_point(figures: Mapping[str, float | int | None], step: int | None = None) -> None:
    """Send figures to the open run, if there is one; for a point of a curve, with its step."""
    if _open:
        _open[-1].log(figures, step)


def log_table(name: str, rows: Sequence[Row], step: int) -> None:
    """Send the first `log.completions` rows of a step's table to the open run, if there is one."""
    if _open and (shown := rows[: _open[-1].settings.completions]):
        for tracker in _open[-1].trackers:
            tracker.table(name, nulled(shown), step)


def log_artifact(name: str, kind: str, paths: Sequence[Path]) -> None:
    """Keep files in the open run, if there is one and the recipe wants that.

    Args:
        name: what it is, such as "verbalizer"; the group's name is added.
        kind: such as "model".
        paths: files, or folders with all their files.
    """
    if _open and _open[-1].settings.artifacts:
        run = _open[-1]
        for tracker in run.trackers:
            tracker.artifact(f"{name}-{run.kept.group}", kind, paths)
