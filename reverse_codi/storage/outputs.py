"""Where output goes, checked before work begins. Missing folders are made when it is written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reverse_codi.errors import UserError
from reverse_codi.storage.job import in_working_copy, is_url


class OutputError(UserError):
    """Nothing can be written there; the message names the place and the reason."""


def check_folder(path: str | Path, key: str = "") -> Path:
    """Refuse a folder that output cannot go to. Nothing is made yet: a run may still be refused.

    Args:
        path: the folder.
        key: of the recipe, or the option, that names it; for the message.

    Raises:
        OutputError: it, or a folder above it, is a file, or cannot be written; it is a URL; or Ray deletes it
            when the job ends.
    """
    folder = Path(path)
    named, other = (f"{key} = {folder}", f"set another {key}") if key else (folder, "choose another place")
    if is_url(path):
        raise OutputError(
            f"{named} is a URL, which train.out, trace.out and distill.out alone may be, and not in every "
            f"verb; {other}"
        )
    if in_working_copy(folder):
        raise OutputError(
            f"{named} lies in this job's copy of the working directory, which Ray deletes; give an absolute "
            "path on storage that stays"
        )
    place = folder.absolute()
    there = next(parent for parent in (place, *place.parents) if os.path.lexists(parent))
    if not there.is_dir():
        raise OutputError(f"{named}: {there} is not a folder; {other}")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OutputError(f"{named}: {there} cannot be written ({error.strerror}); {other}") from None
    return folder


def check_file(path: str | Path, suffixes: Sequence[str]) -> Path:
    """Refuse a file that output cannot go to.

    Args:
        path: the file, which may exist: it is replaced at the end.
        suffixes: what its name may end in, each with its dot.

    Raises:
        OutputError: another suffix, a folder of that name, or a folder that cannot be written.
    """
    file = Path(path)
    if file.suffix not in suffixes:
        known = ", ".join(suffixes)
        raise OutputError(f"{file}: no file of kind {file.suffix!r} can be written; end its name in {known}")
    if file.is_dir():
        raise OutputError(f"{file} is a folder; give the name of a file")
    check_folder(os.path.dirname(os.path.realpath(file)))
    return file
