"""What a stage's folder was made from: work of other settings is refused, never used again in silence.

A stage asks `finished` before it uses what is there, and records its inputs before it begins.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reverse_codi.errors import UserError
from reverse_codi.storage.files import file_sha256, strict_json, write_whole
from reverse_codi.storage.folders import whole_folder
from reverse_codi.storage.json_files import read_object
from reverse_codi.storage.manifest import MANIFEST

INPUTS_FILE = "inputs.json"
TAKEN_OVER = "taken over from"
"""Key of a stage that was copied from elsewhere on purpose; it is used whatever the settings are."""
# A refusal that lists every key of a recipe helps nobody.
_LISTED = 6


class StageError(UserError):
    """A folder holds a stage that was made from other inputs."""


def dotted(values: Mapping[str, Any]) -> dict[str, Any]:
    """A nested mapping as one of dotted keys; the entries of a list of mappings go by their number.

    >>> dotted({"warm_start": {"steps": 5}, "functions": [{"name": "brevity"}], "sites": ["h0"]})
    {'warm_start.steps': 5, 'functions.0.name': 'brevity', 'sites': ['h0']}
    """
    return dict(_flat(values))


def _flat(values: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping):
        parts = [(str(name), inner) for name, inner in values.items()]
    elif isinstance(values, list) and any(isinstance(inner, Mapping) for inner in values):
        parts = [(str(place), inner) for place, inner in enumerate(values)]
    else:
        yield key, values
        return
    for name, inner in parts:
        yield from _flat(inner, f"{key}.{name}" if key else name)


def file_hash(path: Path) -> str:
    """The first 16 hexadecimal digits of a file's SHA-256."""
    return file_sha256(path)[:16]


def record(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Write what a stage is about to be made from into its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / INPUTS_FILE, strict_json(dotted(inputs), indent=1) + "\n")


def finished(
    folder: Path, inputs: Mapping[str, Any], files: Sequence[str], resumable: Sequence[str] = ()
) -> bool:
    """Whether a stage is complete in its folder, made from these inputs.

    Args:
        folder: the stage's.
        inputs: all that decides what the stage makes; JSON values, nested mappings allowed.
        files: what a complete stage has left there.
        resumable: glob patterns of what an interrupted stage goes on from.

    Raises:
        StageError: there is something to use, and it was made from other inputs or nothing says from which.
        DamagedError: what says so is cut or damaged.
    """
    complete = all((folder / name).is_file() for name in files)
    if not complete and not any(any(folder.glob(pattern)) for pattern in resumable):
        return False
    _refuse_others(folder, inputs, partly=False)
    return complete


def check_settings(folder: Path, settings: Mapping[str, Any], files: Sequence[str]) -> None:
    """Refuse a complete stage of other settings before all that it is made from is known.

    Args:
        folder: the stage's.
        settings: some of what `finished` is asked with, under the same keys.
        files: what a complete stage has left there.

    Raises:
        StageError: as `finished`, of these settings alone.
    """
    if all((folder / name).is_file() for name in files):
        _refuse_others(folder, settings, partly=True)


def _refuse_others(folder: Path, inputs: Mapping[str, Any], partly: bool) -> None:
    """Compare inputs with those on record; `partly` leaves out records of keys that `inputs` has not."""
    way_out = "set another folder for this run, or move that one away to make it anew"
    if not (folder / INPUTS_FILE).is_file():
        raise StageError(f"{folder} has no {INPUTS_FILE}, so nothing says what it was made from; {way_out}")
    before = read_object(folder / INPUTS_FILE, way_out)
    if TAKEN_OVER in before:
        return
    if partly:
        before = {key: value for key, value in before.items() if key.partition(".")[0] in inputs}
    now = json.loads(strict_json(dotted(inputs)))  # tuples and the like as JSON has them
    differing = [
        f"{key} = {_shown(before, key)}, now {_shown(now, key)}"
        for key in sorted(before.keys() | now.keys())
        if _shown(before, key) != _shown(now, key)
    ]
    if differing:
        more = len(differing) - _LISTED
        rest = f"; and {more} more" if more > 0 else ""
        raise StageError(f"{folder} was made with {'; '.join(differing[:_LISTED])}{rest}; {way_out}")


def take_over(source: Path, folder: Path, files: Sequence[str] | None = None) -> None:
    """Copy a complete stage into another run, which then uses it whatever its own settings are.

    Args:
        source: the stage's folder.
        folder: of the same stage in the other run.
        files: names to copy; everything if None.
    """
    with whole_folder(folder) as temporary:
        for name in files or [entry.name for entry in source.iterdir()]:
            if (source / name).is_dir():
                shutil.copytree(source / name, temporary / name)
            else:
                shutil.copy(source / name, temporary / name)
        if (source / MANIFEST).is_file():
            shutil.copy(source / MANIFEST, temporary / MANIFEST)
        record(temporary, {TAKEN_OVER: str(source)})


def _shown(values: Mapping[str, Any], key: str) -> str:
    return strict_json(values[key]) if key in values else "not set"
