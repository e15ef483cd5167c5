"""A folder that is kept at a URL: work goes on in a folder of this machine, and its files are copied there.

    s3://bucket/run             the last push: plain files, which any program reads
    s3://bucket/run/.mirror.json      which files belong to it, with their sizes and hashes
    s3://bucket/run/.incoming/        the next push, until it is whole
    s3://bucket/run/.incoming.json    says that it is whole, and what is to be moved where

The URL is the truth. `pull` makes the folder what the URL holds, and `push` brings what changed since. A run
that is killed loses what it wrote after its last push, and a run on another machine goes on from there. A
kill within a push leaves the last one whole, or the next run carries the new one out. Any file system of
fsspec will do that can write, list and move files.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from reverse_codi.errors import UserError
from reverse_codi.storage.files import file_sha256, strict_json, whole_file

INDEX, INCOMING, COMMITTED = ".mirror.json", ".incoming", ".incoming.json"
# Policies that actors load live from one sync to the next; the others are of one process.
IGNORED = ("policies/*", "*/policies/*", "*.tmp", "*.tmp/*", "*.lock", INDEX, COMMITTED, f"{INCOMING}/*")
CHUNK = 1 << 20


class MirrorError(UserError):
    """A URL cannot be read or written, or its content is not that of a run; the message names it."""


@dataclass(frozen=True)
class Entry:
    """What a file at the URL must be: bytes, and SHA-256 in hexadecimal digits."""

    size: int
    sha256: str


class Mirror:
    """One folder and the URL that keeps it. Nothing is read or written before `pull`.

    Args:
        key: of the recipe, for messages.
        url: where the files are kept.
        folder: where a run works.

    Raises:
        MirrorError: fsspec does not know the URL's scheme, or lacks the package for it.
    """

    def __init__(self, key: str, url: str, folder: Path) -> None:
        self.key, self.folder = key, folder
        self.url = re.sub("//[^/@]*@", "//", url)  # without a password, for messages and logs
        with self._explained("cannot be opened"):
            import fsspec  # the rest of the package needs it for nothing

            self._fs, root = fsspec.core.url_to_fs(url)
        self._root = root.rstrip("/")
        self._index: dict[str, Entry] = {}
        self._stats: dict[str, tuple[int, int]] = {}  # of each file as it was pulled or pushed
        self._token = secrets.token_hex(8)
        self._writer = ""

    def pull(self) -> int:
        """Make the folder what the URL holds; returns how many files were fetched.

        Raises:
            MirrorError: the URL cannot be read, holds files of something else, or a file that has changed.
        """
        with self._explained("cannot be read"):
            self._carry_out()
            found = self._json(INDEX)
            if found is None and self._fs.exists(self._root) and self._fs.find(self._root):
                raise MirrorError(
                    f"{self.key} = {self.url} holds files, but no run ({INDEX}); give an empty place"
                )
            self._take(found or {})
            for name in self._local().keys() - self._index.keys():
                (self.folder / name).unlink()
            self._prune()
            fetched = 0
            for name, entry in self._index.items():
                target = self.folder / name
                if not (target.is_file() and target.stat().st_size == entry.size and _hash(target) == entry):
                    self._fetch(name, entry)
                    fetched += 1
                self._stats[name] = _stat(target)
        return fetched

    def push(self) -> int:
        """Bring what changed in the folder to the URL; returns how many files were sent.

        Raises:
            MirrorError: the URL cannot be written, or another run writes to it.
        """
        local = self._local()
        changed = sorted(name for name, stat in local.items() if self._stats.get(name) != stat)
        gone = sorted(self._index.keys() - local.keys())
        if not changed and not gone:
            return 0
        with self._explained("cannot be written"):
            writer = (self._json(INDEX) or {}).get("writer", "")
            if writer not in (self._writer, self._token):
                raise MirrorError(
                    f"{self.key} = {self.url} was written by another run meanwhile; let one run alone write "
                    f"there. What this one has lies in {self.folder}"
                )
            sent = {name: self._send(name) for name in changed}
            index = {name: entry for name, entry in {**self._index, **sent}.items() if name in local}
            after = {"writer": self._token, "files": {name: asdict(e) for name, e in sorted(index.items())}}
            self._write(COMMITTED, {"sent": sorted(sent), "gone": gone, "index": after})
            self._carry_out()
        self._take(after)
        self._stats = {name: local[name] for name in index}
        return len(sent)

    # ---- the other side

    def _carry_out(self) -> None:
        """Put a push that is whole into place, and drop one that is not."""
        if (committed := self._json(COMMITTED)) is not None:
            for name in committed["sent"]:
                came, place = f"{self._root}/{INCOMING}/{_safe(name)}", f"{self._root}/{name}"
                if self._fs.exists(came):  # else it was moved before a kill
                    self._fs.makedirs(os.path.dirname(place), exist_ok=True)
                    if self._fs.exists(place):
                        self._fs.rm(place)
                    self._fs.mv(came, place)
            for name in committed["gone"]:
                if self._fs.exists(f"{self._root}/{_safe(name)}"):
                    self._fs.rm(f"{self._root}/{name}")
            self._write(INDEX, committed["index"])
            self._fs.rm(f"{self._root}/{COMMITTED}")
        if self._fs.exists(f"{self._root}/{INCOMING}"):
            self._fs.rm(f"{self._root}/{INCOMING}", recursive=True)

    def _send(self, name: str) -> Entry:
        """Upload a file; one that grows meanwhile is cut where it ended when it was looked at."""
        place = f"{self._root}/{INCOMING}/{name}"
        self._fs.makedirs(os.path.dirname(place), exist_ok=True)
        digest, left = sha256(), (self.folder / name).stat().st_size
        size = 0
        with (self.folder / name).open("rb") as source, self._fs.open(place, "wb") as target:
            while chunk := source.read(min(CHUNK, left - size)):
                digest.update(chunk)
                target.write(chunk)
                size += len(chunk)
        return Entry(size, digest.hexdigest())

    def _fetch(self, name: str, entry: Entry) -> None:
        with whole_file(self.folder / name) as temporary:
            self._fs.get_file(f"{self._root}/{name}", str(temporary))
            if _hash(temporary) != entry:
                raise MirrorError(
                    f"{self.url}/{name} is not the file that {INDEX} there names: it was changed or cut; "
                    f"restore it, or set another {self.key}"
                )

    def _json(self, name: str) -> dict[str, Any] | None:
        place = f"{self._root}/{name}"
        self._fs.invalidate_cache()  # a listing may be older than what another run wrote
        if not self._fs.exists(place):
            return None
        try:
            found: dict[str, Any] = json.loads(self._fs.cat_file(place))
        except ValueError:
            raise MirrorError(f"{self.url}/{name} is no JSON: it was changed or cut; restore it") from None
        return found

    def _write(self, name: str, value: Any) -> None:
        self._fs.makedirs(self._root, exist_ok=True)
        self._fs.pipe_file(f"{self._root}/{name}", strict_json(value, indent=1).encode())

    def _take(self, index: Mapping[str, Any]) -> None:
        self._writer = index.get("writer", "")
        self._index = {_safe(name): Entry(**entry) for name, entry in index.get("files", {}).items()}

    @contextmanager
    def _explained(self, problem: str) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # each file system has errors of its own
            said = " ".join(str(error).split()) or type(error).__name__
            raise MirrorError(f"{self.key} = {self.url} {problem}: {said}") from error

    # ---- this side

    def _local(self) -> dict[str, tuple[int, int]]:
        """Files of the folder by their path in it, with time and size."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink())
        names = {path.relative_to(self.folder).as_posix(): path for path in files}
        return {n: _stat(p) for n, p in names.items() if not any(fnmatch(n, known) for known in IGNORED)}

    def _prune(self) -> None:
        """Remove folders that hold nothing."""
        for folder in sorted((p for p in self.folder.rglob("*") if p.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()


def _safe(name: str) -> str:
    """The name of a file in a folder; an index may come from anyone.

    Raises:
        MirrorError: it leads out of the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise MirrorError(f"{INDEX} names {name!r}, which leads out of the folder; no run wrote that")
    return name


def _stat(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def _hash(path: Path) -> Entry:
    return Entry(path.stat().st_size, file_sha256(path))
