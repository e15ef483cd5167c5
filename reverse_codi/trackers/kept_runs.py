"""Which runs a training has in its trackers: `trackers.json` in its folder. A resumed run goes on in them."""

from __future__ import annotations

import secrets
from pathlib import Path

from reverse_codi.storage.files import strict_json, write_whole
from reverse_codi.storage.json_files import read_object
from reverse_codi.trackers.base import slug

FILE = "trackers.json"
_FIX = "remove it: the trackers' runs begin anew"


class KeptRuns:
    """The group of a training, and the id of the run of each stage.

    Args:
        folder: of the training.
        beside: a folder whose group this one joins, if that has one: of an evaluation, its training.
    """

    def __init__(self, folder: Path, beside: Path | None = None) -> None:
        self.folder = folder
        self.file = folder / FILE
        kept = read_object(self.file, _FIX) if self.file.is_file() else {}
        self.runs: dict[str, str] = kept.get("runs", {})
        self.group: str = kept.get("group") or _group_of(beside) or _new_group(folder)

    def id_of(self, stage: str, again: bool) -> str:
        """The id of a stage's run: the kept one if it goes on, else a new one, which is kept."""
        if not again or stage not in self.runs:
            self.runs[stage] = f"{slug(stage)}-{secrets.token_hex(4)}"
            kept = {"group": self.group, "runs": self.runs}
            write_whole(self.file, strict_json(kept, indent=1) + "\n")
        return self.runs[stage]


def _group_of(folder: Path | None) -> str | None:
    if folder is None or not (folder / FILE).is_file():
        return None
    return str(read_object(folder / FILE, _FIX)["group"])


def _new_group(folder: Path) -> str:
    """As "tiny-train-1f2e3d4c" of runs/tiny/train: two of one name get two groups."""
    return "-".join([*map(slug, folder.resolve().parts[-2:]), secrets.token_hex(4)])
