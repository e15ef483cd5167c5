"""The stall watchdog: a run in which nothing moves any more says where it is stuck, and ends.

What moves is noted in `processes.under_way`: steps, phases, answers of actors, items of a progress bar.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import psutil

from reverse_codi.processes import keeper, ray_session, stopping, under_way
from reverse_codi.processes.process_memory import title

log = logging.getLogger(__name__)

FILE = "stalled.txt"
# Looks so often within the limit.
LOOKS = 20
# What a process gets to end by itself, after it was asked and before it is ended.
ENDS_S = 60.0
# py-spy answers in under a second, on busy cores in some.
SPY_S = 20.0


@contextmanager
def stalls_ended(limit_s: float, out: Path) -> Iterator[None]:
    """End this process if nothing moves within the block for `limit_s` seconds; 0 watches nothing.

    What is under way and the stacks of this process and of the actors on this machine go to
    `out`/stalled.txt. The main thread is asked to stop, as by a signal; where it does not in a minute, the
    process ends. Where not even this watch can run (a library holds Python's lock), the interpreter writes
    the stacks and ends it.

    Args:
        limit_s: seconds.
        out: a folder that is there.
    """
    if not limit_s:
        yield
        return
    over = threading.Event()
    with (out / FILE).open("w") as file:
        watch = threading.Thread(target=_watch, args=(limit_s, file, over), daemon=True, name="watchdog")
        watch.start()
        try:
            yield
        finally:
            over.set()
            watch.join()
            faulthandler.cancel_dump_traceback_later()
    if not (out / FILE).stat().st_size:
        (out / FILE).unlink()


def _watch(limit_s: float, file: TextIO, over: threading.Event) -> None:
    under_way.moved()
    while not over.is_set():
        # Armed anew for as long as this thread runs.
        faulthandler.dump_traceback_later(limit_s + ENDS_S, exit=True, file=file)
        if under_way.still_for() >= limit_s:
            break
        over.wait(max(0.05, min(limit_s, ENDS_S) / LOOKS))
    else:
        return
    faulthandler.cancel_dump_traceback_later()
    where = under_way.described() or "work that has no name"
    why = f"stalled: nothing moved for {limit_s:g} s (train.stall_s) in {where}; stacks are in {file.name}"
    log.error(why)
    file.write(f"{why}\n\n---- this process, {os.getpid()}\n")
    file.flush()
    faulthandler.dump_traceback(file, all_threads=True)
    for process, stack in stacks_of_actors().items():
        file.write(f"\n---- {process}\n{stack}\n")
    file.flush()
    stopping.ask_stalled(why)
    if not over.wait(ENDS_S) and stopping.is_listening():
        print(f"{why}; it did not end in {ENDS_S:g} s and is killed", file=sys.stderr, flush=True)
        os._exit(stopping.STALLED)


def stacks_of_actors() -> dict[str, str]:
    """The stack of each process of the Ray that this process started, by its title; needs py-spy."""
    if not (session := ray_session.folder()):
        return {}
    spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    found = {}
    for process in keeper.of_session(session):
        with contextlib.suppress(psutil.Error, OSError):  # it ended meanwhile
            name = title(process)
            if name.startswith("ray ") and name != "ray IDLE":
                state = f"{name}, process {process.pid}, {process.status()}"
                found[state] = _stack(spy, process.pid)
    return found


def _stack(spy: str | None, pid: int) -> str:
    if spy is None:
        return "no stack: py-spy is not installed"
    try:  # a stopped process answers no tracer that waits for it
        command = [spy, "dump", "--nonblocking", "--pid", str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SPY_S)
    except subprocess.TimeoutExpired:
        return f"no stack: py-spy did not answer in {SPY_S:g} s"
    return done.stdout or f"no stack: {done.stderr.strip()}"
