"""Processes that carry a mark in their environment, and their children: found and ended.

A daemon belongs to no one once its parent has ended, and a job is in a session of its own; the environment
that they began with stays. Ray's workers write a title over theirs, but they are children of one that has it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import psutil

# A process that heeds SIGTERM is gone in less.
END_S = 8.0


def marked(name: str, value: str) -> list[psutil.Process]:
    """All living processes with a variable in their environment, and their children.

    This process and its parents are left out.

    Args:
        name: of the variable.
        value: of the variable.
    """
    roots = [process for process in psutil.process_iter() if _variable(process, name) == value]
    found = {process.pid: process for process in roots}
    for process in roots:
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            found |= {child.pid: child for child in process.children(recursive=True)}
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for pid, process in found.items() if pid not in own and _lives(process)]


def end(some: Sequence[psutil.Process]) -> None:
    """End processes, by force where they do not heed a signal in time."""
    for process in some:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, deaf = psutil.wait_procs(some, timeout=END_S)
    for process in deaf:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(deaf, timeout=END_S)


def name_of_process(process: psutil.Process) -> str:
    """The name of a process; "" where it has ended."""
    with contextlib.suppress(psutil.Error):
        return str(process.name())
    return ""


def _variable(process: psutil.Process, name: str) -> str | None:
    with contextlib.suppress(psutil.Error, OSError):  # another user's, ended, or a zombie
        value: str | None = process.environ().get(name)
        return value
    return None


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
