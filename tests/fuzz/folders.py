"""Copies of small folders whose files a case may damage."""

from __future__ import annotations

import shutil
from pathlib import Path


class Folder:
    """A folder of small files, and a copy in which one file at a time is another.

    Args:
        source: the whole files.
        copy: where the copy goes; it must not exist.
    """

    def __init__(self, source: Path, copy: Path) -> None:
        self.whole = {file.name: file.read_bytes() for file in source.iterdir() if file.is_file()}
        self.path = copy
        shutil.copytree(source, copy)

    def with_file(self, name: str, data: bytes) -> Path:
        """The copy with other bytes in one file, and all others whole again."""
        for file in self.path.iterdir():
            if file.name not in self.whole:
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        for other, whole in self.whole.items():
            place = self.path / other
            wanted = data if other == name else whole
            if not place.is_file() or place.read_bytes() != wanted:
                place.unlink(missing_ok=True)
                place.write_bytes(wanted)
        if name not in self.whole:
            (self.path / name).write_bytes(data)
        return self.path
