"""Folders written whole or not at all, and files that go together into a folder of other things."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reverse_codi.storage.disk import disk_named
from reverse_codi.storage.files import TEMPORARY, flush, temporary_name

FORMER = ".former"
"""Ends the name of a folder that makes room, where the file system cannot exchange two folders."""
# Of renameat2(2), which Python has no call for: relative to the working folder; let two names change places.
_AT_FDCWD, _EXCHANGE = -100, 2
_OURS = re.compile(r"\.[0-9a-f]{8}" + re.escape(TEMPORARY) + "$")  # as `temporary_name` makes them


@contextmanager
def whole_folder(folder: Path, replace: bool = True) -> Iterator[Path]:
    """An empty folder to write into, which takes the place of `folder` at the end; gone if anything fails.

    Args:
        folder: its place; parents are made.
        replace: whether one that is there at the end makes room, or stays as it is.

    Raises:
        DiskError: the disk refused it; a folder that was there is unchanged.
    """
    restore_former(folder)
    temporary = temporary_name(folder)
    try:
        with disk_named(folder):
            temporary.mkdir(parents=True)
            yield temporary
            put_in_place(temporary, folder, replace)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def whole_files(folder: str | Path) -> Iterator[Path]:
    """An empty folder whose files take their places in `folder`, one by one, when the block ends.

    For libraries that write several files into a folder which holds other things too. Folders within what is
    written are not moved.

    Raises:
        DiskError: the disk refused a file; none of them has taken its place.
    """
    folder = Path(folder)
    temporary = temporary_name(folder / "files")
    try:
        with disk_named(folder):
            temporary.mkdir(parents=True)
            yield temporary
            flush_all(temporary)
            for file in sorted(path for path in temporary.iterdir() if path.is_file()):
                os.replace(file, folder / file.name)
            flush(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(written: Path, folder: Path, replace: bool = True) -> None:
    """Let a folder that is written take its place, on the disk for good.

    Args:
        written: on the same file system; afterwards it is gone, or holds what was in place before.
        folder: its place.
        replace: whether one that is there makes room, or stays as it is.
    """
    flush_all(written)
    if not folder.is_dir():
        written.rename(folder)
    elif replace and not _exchange(written, folder):
        # Between these two nothing is in place; the next writer puts the former back (`restore_former`).
        folder.rename(former := folder.with_name(folder.name + FORMER))
        written.rename(folder)
        shutil.rmtree(former)
    flush(folder.parent)


def restore_former(folder: Path) -> None:
    """Put back what a kill left beside a folder's place; nothing is left of it where the place is taken."""
    former = folder.with_name(folder.name + FORMER)
    if former.is_dir() and not folder.exists():
        former.rename(folder)
    shutil.rmtree(former, ignore_errors=True)


def clear_temporary(folder: Path) -> None:
    """Remove what killed processes were writing in a folder that no process writes into now."""
    for former in list(folder.rglob("*" + FORMER)):
        restore_former(former.with_name(former.name.removesuffix(FORMER)))
    for left in list(folder.rglob("*" + TEMPORARY)):
        if not _OURS.search(left.name):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def flush_all(folder: Path) -> None:
    """Wait until the disk has all that a folder holds."""
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places at once; False where the system or the file system cannot."""
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    return (
        call is not None
        and call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_EXCHANGE)) == 0
    )
