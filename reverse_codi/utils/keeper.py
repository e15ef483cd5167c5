"""Ends what a Ray leaves behind that a run began: a process beside the run, which waits for the run's end.

Ray 2.60 ties its raylet and its head to the process that started them. What the raylet started watches the
raylet by itself: agents first wait for a head that is gone, and an actor that was stopped (SIGSTOP) watches
nothing.

    python -m reverse_codi.utils.keeper SESSION

It reads standard input, which the run holds open for as long as it lives, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

import psutil

# What Ray takes to end its own processes where it is asked to.
GRACE_S = 5.0
LONGEST_S = 20.0
PAUSE_S = 0.2


def of_session(session: str) -> list[psutil.Process]:
    """The processes of one Ray on this machine: what they print goes into its folder.

    Command lines do not tell: workers and agents change theirs, and a user may read a log there.

    Args:
        session: the folder, such as /tmp/ray/session_2026-01-31_12-00-00_123456_1234567.
    """
    return [process for process in psutil.process_iter() if _belongs(process, session)]


def _belongs(process: psutil.Process, session: str) -> bool:
    if process.pid == os.getpid():
        return False
    with contextlib.suppress(psutil.Error, OSError):  # it ended meanwhile, or is another user's
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        outputs = (os.readlink(f"/proc/{process.pid}/fd/{number}") for number in (1, 2))
        return any(session in output for output in outputs)
    return False


def end(session: str, grace_s: float = GRACE_S) -> None:
    """Wait until the processes of a session are gone; kill what is there after `grace_s` seconds."""
    began = time.monotonic()
    while (left := of_session(session)) and (took := time.monotonic() - began) < LONGEST_S:
        if took > grace_s:
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    sys.stdin.read()
    end(sys.argv[1])
