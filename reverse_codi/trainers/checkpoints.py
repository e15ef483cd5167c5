"""A Trainer's checkpoints: which to go on from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from reverse_codi.storage.files import DamagedError
from reverse_codi.storage.manifest import MANIFEST, problems
from reverse_codi.utils.finite import non_finite

WEIGHTS, POLICY_WEIGHTS = "model.safetensors", "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
STATE = "trainer_state.json"
# What a checkpoint without a manifest, of version 0.1.0, must hold: without one of the first two transformers
# goes on with a new optimizer or schedule, and says nothing. It wrote the state last.
_LISTED_BEFORE = ("optimizer.pt", "scheduler.pt", STATE)
# The Trainer counts, and rotates away, what is named checkpoint-N.
ASIDE, DAMAGED = "not-finite-", "damaged-"


@dataclass(frozen=True)
class Checkpoint:
    """What there is to go on from.

    Attributes:
        folder: the newest checkpoint that is whole and finite; None without one.
        passed: newer ones, and what is wrong with each.
        damaged: those of them whose files are not what was written.
        checked: whether a manifest says what the files of `folder` must be; version 0.1.0 wrote none.
    """

    folder: str | None = None
    passed: Mapping[str, str] = field(default_factory=dict)
    damaged: frozenset[str] = frozenset()
    checked: bool = True


def steps_of(checkpoint: str | Path | None) -> int:
    """Optimizer steps behind a checkpoint; 0 without one."""
    return int(str(checkpoint).rpartition("-")[2]) if checkpoint else 0


def complete_checkpoints(out: Path, weights: str = WEIGHTS) -> list[str]:
    """The checkpoints in `out` that were written to their end, newest first, whatever became of them since.

    Args:
        out: folder of checkpoints.
        weights: the file that holds a checkpoint's weights.
    """
    ended = {file.parent for file in out.glob(f"checkpoint-*/{MANIFEST}")}
    before = {file.parent for file in out.glob(f"checkpoint-*/{STATE}") if (file.parent / weights).is_file()}
    return [str(folder) for folder in sorted(ended | before, key=steps_of, reverse=True)]


def newest_whole(out: Path, weights: str = WEIGHTS) -> Checkpoint:
    """The newest checkpoint whose files are what was written, and whose weights are finite.

    Args:
        out: folder of checkpoints.
        weights: the file that holds a checkpoint's weights.
    """
    passed: dict[str, str] = {}
    damaged: set[str] = set()
    for folder in complete_checkpoints(out, weights):
        if wrong := damages(Path(folder), weights):
            damaged.add(folder)
            passed[folder] = "; ".join(wrong)
        elif not _is_finite(Path(folder) / weights):
            passed[folder] = f"{folder} holds weights that are not finite"
        else:
            return Checkpoint(folder, passed, frozenset(damaged), (Path(folder) / MANIFEST).is_file())
    return Checkpoint(None, passed, frozenset(damaged))


def checkpoint_to_resume(out: Path, weights: str, way_out: str) -> Checkpoint:
    """As `newest_whole`, for a run that goes on.

    Args:
        out: folder of checkpoints.
        weights: the file that holds a checkpoint's weights.
        way_out: how to begin anew, for the message.

    Raises:
        DamagedError: there are checkpoints, and each is damaged: the run would begin anew in silence.
    """
    found = newest_whole(out, weights)
    if found.folder is None and found.damaged:
        listed = "; ".join(found.passed.values())
        raise DamagedError(f"no checkpoint to go on from: {listed}. Restore it from a copy, or {way_out}")
    return found


def last_complete_checkpoint(out: Path, weights: str = WEIGHTS) -> str | None:
    """The folder that `newest_whole` finds."""
    return newest_whole(out, weights).folder


def damages(folder: Path, weights: str) -> list[str]:
    """What is wrong with the files of a checkpoint that was written to its end; each names its file."""
    if (folder / MANIFEST).is_file():
        try:
            return problems(folder)
        except DamagedError as error:
            return [str(error)]
    found = [f"{folder / name} is missing" for name in _LISTED_BEFORE if not (folder / name).is_file()]
    return found or [*_unreadable(folder / STATE), *_unreadable(folder / weights)]


def _unreadable(file: Path) -> list[str]:
    try:
        if file.suffix == ".json":
            json.loads(file.read_bytes())
        else:
            with safe_open(file, framework="pt"):
                pass
    except (ValueError, SafetensorError) as error:
        return [f"{file} is cut or damaged ({error})"]
    return []


def set_aside(found: Checkpoint, say: Callable[[str], None]) -> None:
    """Rename checkpoints newer than the one to go on from, so that the Trainer rotates none away for them.

    Args:
        found: by `newest_whole` or `checkpoint_to_resume`.
        say: prints a line for each that is renamed.
    """
    for folder, why in found.passed.items():
        aside = renamed(Path(folder), DAMAGED if folder in found.damaged else ASIDE)
        say(f"{why}: renamed to {aside.name}")


def take_rate(optimizer: Any, scheduler: Any, rate: float) -> None:
    """Give a loaded optimizer the peak rate of the recipe at hand.

    torch goes on with the rate of the run that saved it. The schedule is always that of the recipe at hand:
    a scheduler saves no functions.

    Args:
        optimizer: as loaded.
        scheduler: a `LambdaLR`, as loaded.
        rate: the peak rate; the schedule's factor for the steps done is applied to it.
    """
    scheduler.base_lrs = [rate] * len(scheduler.base_lrs)
    now = [rate * factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
    for group, value in zip(optimizer.param_groups, now, strict=True):
        group["initial_lr"], group["lr"] = rate, value
    scheduler._last_lr = now


def renamed(folder: Path, prefix: str) -> Path:
    """Give a checkpoint a name that the Trainer neither counts nor rotates away."""
    target = folder.with_name(f"{prefix}{steps_of(folder)}")
    shutil.rmtree(target, ignore_errors=True)  # of an earlier stop at the same step
    os.replace(folder, target)
    return target


def _is_finite(file: Path) -> bool:
    with safe_open(file, framework="pt") as tensors:
        # One tensor at a time: the whole model need not fit beside the one that is trained.
        return all(non_finite([(name, tensors.get_tensor(name))]) is None for name in tensors.keys())  # noqa: SIM118
