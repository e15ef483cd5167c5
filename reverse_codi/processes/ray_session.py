"""The Ray that this process started: whether it lives, and its end, which leaves no process behind.

A cluster that was joined belongs to someone else: nothing of it is watched or ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import ray
from ray._private.ray_logging import stdout_deduplicator

from reverse_codi.errors import UserError
from reverse_codi.processes import keeper

# Programs without which a Ray cannot go on -> what they are.
PARTS = {"raylet": "its raylet, which runs the actors of this machine", "gcs_server": "its head"}
_LAST_WORDS = re.compile(r"^Raylet is terminated\.")


class RayDiedError(UserError):
    """The Ray that this process started is gone; what was saved before can be gone on from."""


@dataclass
class Session:
    """The Ray that this process uses for its runs.

    Attributes:
        folder: of its session; "" of a cluster that was joined.
        parts: processes without which it cannot go on.
        keeper: ends what it leaves behind.
    """

    folder: str = ""
    parts: Mapping[str, psutil.Process] = field(default_factory=dict)
    keeper: subprocess.Popen[bytes] | None = None


_session: Session | None = None


def started(address_info: Mapping[str, Any]) -> None:
    """Watch a Ray that this process has just started.

    Args:
        address_info: what `ray.init` returned under that name.
    """
    global _session
    folder = str(address_info["session_dir"])
    children = psutil.Process().children()
    parts = {child.name(): child for child in children if child.name() in PARTS}
    # In a session of its own: Ctrl-C at a terminal goes to all processes of the run's.
    command = [sys.executable, "-m", keeper.__name__, folder, str(os.getpid())]
    watching = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    _session = Session(folder, parts, watching)
    # Each agent of a raylet that died would send 20 lines of its log, around the one of `check_alive`.
    stdout_deduplicator.skip_re = stdout_deduplicator.skip_re or _LAST_WORDS


def joined() -> None:
    """Note that a cluster was joined, which `end` leaves."""
    global _session
    _session = Session()


def folder() -> str:
    """The folder of the Ray that this process started; "" where it started none."""
    return "" if _session is None else _session.folder


def lives() -> bool:
    """Whether the Ray that this process started runs: else nothing that it is asked for happens."""
    return not _dead()


def check_alive() -> None:
    """Refuse to wait for actors that can never answer.

    Raises:
        RayDiedError: the Ray that this process started is gone.
    """
    for name, process in _dead().items():
        raise RayDiedError(
            f"Ray ended under this run: {PARTS[name]} (process {process.pid}), died or was killed, for "
            f"want of memory perhaps; its log is {folder()}/logs/{name}.out. Go on with --resume"
        )


def _dead() -> dict[str, psutil.Process]:
    """The parts of the Ray that this process started which run no more."""
    parts = {} if _session is None else _session.parts
    return {name: process for name, process in parts.items() if not _runs(process)}


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def end() -> None:
    """End the Ray that this process started, or leave the cluster that it joined for its runs."""
    global _session
    session, _session = _session, None
    if session is None:
        return
    ray.shutdown()
    if session.keeper is not None:
        assert session.keeper.stdin is not None  # it was asked for
        session.keeper.stdin.close()
        session.keeper.wait()


@contextmanager
def ended() -> Iterator[None]:
    """However the block ends, what Ray started here has ended behind it."""
    try:
        yield
    finally:
        end()


@contextmanager
def blamed() -> Iterator[None]:
    """In the block, what fails because Ray is gone is said in one line, whatever Ray says of it.

    Raises:
        RayDiedError: the Ray that this process started is gone.
    """
    try:
        yield
    except Exception:
        check_alive()
        raise
