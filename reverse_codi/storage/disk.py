"""A disk that takes no more: which file could not be written, why, and what to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reverse_codi.errors import UserError

# What to do about each reason that the system may give for refusing bytes.
_FIXES = {
    errno.ENOSPC: "free space on that disk (folders of earlier runs, caches)",
    errno.EDQUOT: "delete files of yours on that disk, or ask for a larger quota",
    errno.EFBIG: "raise the limit of a file's size (`ulimit -f`), or choose another disk",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.EIO: "check the disk or its connection",
}
# Rust's libraries (safetensors, tokenizers) and pyarrow say the number within their message.
_NUMBER = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
# torch.save's zip writer and NumPy's tofile ("9 requested and 4 written") do not say why.
_SILENT = ("PytorchStreamWriter failed", "iostream error", "unexpected pos", "requested and")
# More than what a disk that has just refused a file can have left.
_PROBE = 1 << 20


class DiskError(UserError, OSError):
    """The disk refused a file; the message names the file, the reason and what to do."""

    def __str__(self) -> str:
        """The message; an OSError with a number would show that number instead."""
        return str(self.args[0])


@contextmanager
def disk_named(path: str | Path) -> Iterator[None]:
    """Say which file the disk refused within a block, whichever library wrote it.

    Args:
        path: of the file or folder that is written.

    Blocks may lie within blocks: the outermost names its file.

    Raises:
        DiskError: the disk is full, broken, or not to be written. All other errors stay as they are.
    """
    try:
        yield
    except Exception as error:
        if (number := _reason(error, Path(path).parent)) is None:
            raise
        raise _refused(Path(path), number) from error


def _reason(error: Exception, folder: Path) -> int | None:
    """The system's number of why an error came from the disk; None where it did not."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := _NUMBER.search(str(error))):
        number = int(found[1] or found[2])
    silent = isinstance(error, RuntimeError | OSError) and any(word in str(error) for word in _SILENT)
    if number is None and silent:
        number = _refusal(folder) or errno.EIO
    return number if number in _FIXES else None


def _refusal(folder: Path) -> int | None:
    """Why a folder takes no more bytes; None if it does take them."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno
    return None


def _refused(path: Path, number: int) -> DiskError:
    there = next(parent for parent in path.absolute().parents if parent.is_dir())
    usage = shutil.disk_usage(there)
    left = f"{usage.free / 2**30:.2f} of {usage.total / 2**30:.1f} GiB are free in {there}"
    made = DiskError(
        f"{path} cannot be written: {os.strerror(number)} ({left}). What was there before is whole: "
        f"{_FIXES[number]}, then give the same command again (`train` with --resume)"
    )
    made.errno, made.filename = number, str(path)
    return made
