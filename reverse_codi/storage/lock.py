"""One run a folder: a lock that the system takes back when its process dies.

It is an flock(2) on `.lock` in the folder, which is there while it is held, and after a kill (unheld).
It holds between processes of one machine, and over NFS where the server has locks; Lustre needs the mount
option `flock`. Where a file system has none, a warning says that two runs would not notice one another.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from reverse_codi.errors import UserError
from reverse_codi.storage.disk import disk_named
from reverse_codi.storage.files import strict_json
from reverse_codi.storage.outputs import check_folder

LOCK = ".lock"
# What flock says where the file system, or its server, has no locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}

log = logging.getLogger(__name__)


class InUseError(UserError):
    """Another run writes into a folder; the message names the folder, the process and its host."""


@contextmanager
def owned(path: str | Path, key: str) -> Iterator[None]:
    """Keep other runs out of a folder within a block.

    The folder is made. If nothing is written into it within the block, what was made goes again.

    Args:
        path: the folder.
        key: of the recipe, or the option, that names it; for messages.

    Raises:
        InUseError: another run has it.
        OutputError: it cannot be made or written.
    """
    folder = check_folder(path, key)
    made = _missing(folder)
    with disk_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
    held = _held(folder, key)
    try:
        yield
    finally:
        if held is not None:
            (folder / LOCK).unlink(missing_ok=True)  # while it is held: no one else may have it yet
            os.close(held)
        for empty in made:
            try:
                empty.rmdir()
            except OSError:  # something was written there
                break


def check_free(path: str | Path, key: str) -> None:
    """Refuse a folder that another run writes into; nothing is made.

    Raises:
        InUseError: as `owned`.
    """
    if (Path(path) / LOCK).is_file():
        with owned(path, key):
            pass


def _missing(folder: Path) -> list[Path]:
    """The folders that are to be made, the innermost first."""
    return [place for place in (folder, *folder.parents) if not place.is_dir()]


def _held(folder: Path, key: str) -> int | None:
    """The open file that holds the lock; None where the file system has no locks."""
    file = folder / LOCK
    while True:
        opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(opened)
            os.close(opened)
            raise InUseError(
                f"{key} = {folder} is in use by {holder}; wait until it ends, stop it, or set another {key}"
            ) from None
        except OSError as error:
            os.close(opened)
            if error.errno not in _NO_LOCKS:
                raise
            file.unlink(missing_ok=True)
            log.warning(
                f"the file system of {folder} has no locks ({error.strerror}): see to it yourself that no "
                f"other run has this {key}"
            )
            return None
        if _is_in_place(opened, file):
            break
        os.close(opened)  # its former holder removed it between our opening and our locking
    with disk_named(file):
        os.ftruncate(opened, 0)
        os.write(opened, strict_json(_ourselves()).encode())
    return opened


def _is_in_place(opened: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(opened), file.stat())
    except FileNotFoundError:
        return False


def _ourselves() -> dict[str, str | int]:
    since = datetime.now().astimezone().isoformat(" ", "minutes")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _holder(opened: int) -> str:
    """Who holds the lock, as far as its file says."""
    try:
        who = json.loads(os.pread(opened, 4096, 0))
        return f"process {who['pid']} on host {who['host']} (since {who['since']})"
    except (ValueError, KeyError, TypeError):  # it has just begun
        return "another process"
