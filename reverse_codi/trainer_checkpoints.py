"""A Trainer's checkpoints in a folder: which one to go on from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open

from reverse_codi.finite import non_finite

WEIGHTS, POLICY_WEIGHTS = "model.safetensors", "adapter_model.safetensors"
# The Trainer counts, and rotates away, what is named checkpoint-N.
ASIDE = "not-finite-"


def complete_checkpoints(out: Path, weights: str = WEIGHTS) -> list[str]:
    """The checkpoints in `out` that were written to their end, newest first; a kill may have cut the last.

    Args:
        out: folder of checkpoints.
        weights: the file that holds a checkpoint's weights.
    """
    whole = [p.parent for p in out.glob("checkpoint-*/trainer_state.json") if (p.parent / weights).is_file()]
    return [str(folder) for folder in sorted(whole, key=_step, reverse=True)]


def last_complete_checkpoint(out: Path, weights: str = WEIGHTS) -> str | None:
    """The newest complete checkpoint whose weights are finite; arguments as in `complete_checkpoints`."""
    found = complete_checkpoints(out, weights)
    return next((folder for folder in found if _is_finite(Path(folder) / weights)), None)


def set_aside(out: Path, weights: str, say: Callable[[str], None]) -> None:
    """Rename checkpoints newer than the last finite one, so that the Trainer rotates none away for them.

    Args:
        out: folder of checkpoints.
        weights: the file that holds a checkpoint's weights.
        say: told what was renamed.
    """
    for folder in map(Path, complete_checkpoints(out, weights)):
        if _is_finite(folder / weights):
            return
        target = out / f"{ASIDE}{_step(folder)}"
        os.replace(folder, target)
        say(f"{folder} holds weights that are not finite: renamed to {target.name}")


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _is_finite(file: Path) -> bool:
    with safe_open(file, framework="pt") as tensors:
        # One tensor at a time: the whole model need not fit beside the one that is trained.
        return all(non_finite([(name, tensors.get_tensor(name))]) is None for name in tensors.keys())  # noqa: SIM118
