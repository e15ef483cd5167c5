"""Ends what a Ray leaves behind that a run began: a process beside the run, which waits for the run's end.

Ray 2.60 ties its raylet and its head to the process that started them. What the raylet started watches the
raylet by itself: agents first wait for a head that is gone, and an actor that was stopped (SIGSTOP) watches
nothing.

    python -m reverse_codi.processes.keeper SESSION RUN

It reads standard input, which the run, process RUN, holds open until it ends or has ended its Ray.
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


def of_session(session: str, run: int | None = None) -> list[psutil.Process]:
    """The processes of one Ray on this machine: they write into its folder.

    Command lines do not tell: workers and agents change theirs, and a user may read a log there.

    Args:
        session: the folder, such as /tmp/ray/session_2026-01-31_12-00-00_123456_1234567.
        run: the process that started it, which writes there too; this one if None.
    """
    others = (process for process in psutil.process_iter() if process.pid not in (os.getpid(), run))
    return [process for process in others if _belongs(process, session)]


def _belongs(process: psutil.Process, session: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):  # it ended meanwhile, or is another user's
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # Workers print into its logs; agents print into a pipe of the raylet's, and log there.
        files = (file for file in process.open_files() if getattr(file, "mode", "w") != "r")
        return any(file.path.startswith(session) for file in files)
    return False


def end(session: str, run: int | None = None, grace_s: float = GRACE_S) -> None:
    """Wait until the processes of a session are gone; kill what is there after `grace_s` seconds."""
    began = time.monotonic()
    while (left := of_session(session, run)) and (took := time.monotonic() - began) < LONGEST_S:
        if took > grace_s:
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    sys.stdin.read()
    end(sys.argv[1], int(sys.argv[2]))
