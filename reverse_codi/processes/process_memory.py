"""Peak memory of a process and of all that it starts, by the kernel's own count."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from reverse_codi.processes.memory import GIB, kib_field

INTERVAL_S = 0.5
_SMALL = 0.1  # GiB; processes that never take more are shown in one line
_RAY_TITLE = re.compile(r"^ray::(\w+)")


@dataclass
class ProcessPeak:
    """What one process took.

    Attributes:
        name: what it is, for people.
        resident: largest resident set in GiB since it began (VmHWM in /proc), shared pages included.
        share: largest proportional set in GiB (PSS): a page that n processes share counts as 1/n.
    """

    name: str
    resident: float = 0.0
    share: float = 0.0


@dataclass
class Peaks:
    """What a tree of processes took.

    Attributes:
        processes: process id -> its peak.
        total: largest sum of all proportional sets at one moment, in GiB.
    """

    processes: dict[int, ProcessPeak] = field(default_factory=dict)
    total: float = 0.0

    def by_name(self) -> list[ProcessPeak]:
        """The processes, largest first; small ones together as "others"."""
        large = sorted(
            (p for p in self.processes.values() if p.resident >= _SMALL), key=lambda p: -p.resident
        )
        small = [p for p in self.processes.values() if p.resident < _SMALL]
        others = ProcessPeak(
            f"{len(small)} others", sum(p.resident for p in small), sum(p.share for p in small)
        )
        return [*large, others] if small else large


def title(process: psutil.Process) -> str:
    """What a process is: a Ray actor's class, a script or a module, else the program."""
    words = process.cmdline() or [process.name()]
    if found := _RAY_TITLE.match(words[0]):
        return f"ray {found[1]}"
    scripts = [Path(word).stem for word in words[1:6] if word.endswith(".py")]
    if "-m" in words[:4]:
        place = words.index("-m") + 1
        return " ".join([*words[place : place + 2]])
    return scripts[0] if scripts else Path(words[0]).name


def sample(root: psutil.Process, peaks: Peaks) -> None:
    """Add what all processes below `root`, and itself, take now."""
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        try:
            share = process.memory_full_info().pss / GIB
            resident = kib_field(Path(f"/proc/{process.pid}/status"), "VmHWM")
            name = title(process)
        except (psutil.Error, OSError):  # it ended meanwhile
            continue
        total += share
        known = peaks.processes.setdefault(process.pid, ProcessPeak(name))
        if name != "ray IDLE":  # a worker has its actor's name only while it works
            known.name = name
        known.resident = max(known.resident, resident or 0.0)
        known.share = max(known.share, share)
    peaks.total = max(peaks.total, total)


@contextmanager
def watched(pid: int, interval_s: float = INTERVAL_S) -> Iterator[Callable[[], Peaks]]:
    """Watch a process and all that it starts, from another thread.

    Yields a function that returns the peaks since its last call, and begins anew.
    """
    root, stop, lock, now = psutil.Process(pid), threading.Event(), threading.Lock(), [Peaks()]

    def watch() -> None:
        while not stop.is_set():
            began = time.monotonic()
            try:
                with lock:
                    sample(root, now[0])
            except psutil.Error:
                return  # it has ended
            stop.wait(max(interval_s, 4 * (time.monotonic() - began)))  # looking must not cost much

    def taken() -> Peaks:
        with lock:
            found, now[0] = now[0], Peaks()
        return found

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        stop.set()
        thread.join()
