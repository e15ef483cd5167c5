"""Where output goes, checked before work begins. Missing folders are made."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reverse_codi.errors import UserError


class OutputError(UserError):
    """Nothing can be written there; the message names the place and the reason."""


def check_folder(path: str | Path) -> Path:
    """Make a folder that output goes to, with its parents, and try that files can be written there.

    Raises:
        OutputError: it, or a folder above it, is a file, or cannot be written.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (FileExistsError, NotADirectoryError):
        raise OutputError(f"{folder}: it, or a folder above it, is a file; choose another place") from None
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}); choose another place") from None
    return folder


def check_file(path: str | Path, suffixes: Sequence[str]) -> Path:
    """Make the folder of a file that output goes to, and try that it can be written there.

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
