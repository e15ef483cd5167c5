"""A Trainer's checkpoints, each whole with a manifest or not there at all.

The Trainer writes file after file into `checkpoint-N`, and deletes older ones after it. Here it writes into
`writing/checkpoint-N`; only when all of it is on the disk, with its manifest, is it renamed, and only then
does an older one go, by its name first. So a kill or a full disk costs the checkpoint that was being written,
and no other.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from reverse_codi.storage.disk import disk_named
from reverse_codi.storage.folders import put_in_place
from reverse_codi.storage.manifest import write_manifest
from reverse_codi.trainers.checkpoints import steps_of

WRITING = "writing"


class WholeCheckpoints:
    """Mixin of transformers' and TRL's trainers, before them in the order of bases.

    It leans on `_save_checkpoint` and `_get_output_dir` (pinned by tests/contract/test_whole_checkpoints.py),
    and sends no telemetry.
    """

    _writes_into: Path | None = None

    def _get_output_dir(self, trial: Any) -> str:
        """Where the Trainer makes, and rotates, its checkpoints."""
        place: str = super()._get_output_dir(trial)  # type: ignore[misc]
        return place if self._writes_into is None else str(self._writes_into)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save `checkpoint-N`; with several workers all of them write, and the first one finishes.

        Raises:
            DiskError: the disk refused it; earlier checkpoints are as they were.
        """
        trainer: Any = self
        out = Path(self._get_output_dir(trial))
        name = f"checkpoint-{trainer.state.global_step}"
        writing, first = out / WRITING, trainer.is_world_process_zero()
        if first:
            shutil.rmtree(writing, ignore_errors=True)  # of a run that was killed
        trainer.accelerator.wait_for_everyone()
        try:
            with disk_named(out / name):
                self._writes_into = writing
                try:
                    super()._save_checkpoint(model, trial)  # type: ignore[misc]
                finally:
                    self._writes_into = None
                trainer.accelerator.wait_for_everyone()
                if first:
                    write_manifest(writing / name)
                    put_in_place(writing / name, out / name)
        finally:
            if first:
                shutil.rmtree(writing, ignore_errors=True)
        if first and trainer.args.save_total_limit:
            _keep_newest(out, trainer.args.save_total_limit)
        trainer.accelerator.wait_for_everyone()

    def _send_telemetry(self) -> None:
        """Keep TRL from telling the hub which trainer, model and machine are in use (also `settle`)."""


def _keep_newest(out: Path, n: int) -> None:
    """Remove all but the newest `n` checkpoints; a kill leaves none of them in part."""
    by_step = sorted(out.glob("checkpoint-*"), key=steps_of)
    writing = out / WRITING
    for folder in by_step[:-n]:
        writing.mkdir(exist_ok=True)
        os.replace(folder, writing / folder.name)
    shutil.rmtree(writing, ignore_errors=True)
