"""Files and folders, written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write a file under, which takes the place of `path` at the end; gone if anything fails."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path, replace: bool = True) -> Iterator[Path]:
    """An empty folder to write into, which takes the place of `folder` at the end; gone if anything fails.

    Args:
        folder: its place; parents are made.
        replace: whether one that is there at the end makes room, or stays as it is.
    """
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if replace:
            shutil.rmtree(folder, ignore_errors=True)
        if not folder.is_dir():
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
