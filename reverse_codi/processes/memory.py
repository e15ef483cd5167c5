"""How much memory a process has taken at most, and how much the machine has.

Memory is counted in GiB. What a process takes includes pages of files that it has mapped, which several
processes on one machine share.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

GIB, MIB = 2**30, 2**20
_STATUS, _MEMINFO, _CLEAR = Path("/proc/self/status"), Path("/proc/meminfo"), Path("/proc/self/clear_refs")
# What a container may take: of version 2 of Linux' control groups, then of version 1.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class Peak:
    """The most that one process has taken, in GiB.

    Attributes:
        host: of the machine's memory.
        gpu: of the GPU's, by torch's tensors; 0 without one.
    """

    host: float
    gpu: float = 0.0


def peak() -> Peak:
    """The most that this process has taken since it began, or since `restart_peak`."""
    return Peak(_resident(), _on_gpu())


def restart_peak() -> None:
    """Count the peak anew from here, where the machine lets a process do so (Linux)."""
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def machine() -> float | None:
    """The memory of this machine, or of the container that the process runs in; None where it is unknown."""
    total = kib_field(_MEMINFO, "MemTotal") if _MEMINFO.is_file() else None
    known = [] if total is None else [total]
    for file in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            known.append(int(file.read_text()) / GIB)
    return min(known, default=None)


def kib_field(file: Path, name: str) -> float | None:
    """A field, in GiB, of a file in /proc that counts KiB; None where it has no such field."""
    start = f"{name}:"
    line = next((line for line in file.read_text().splitlines() if line.startswith(start)), None)
    return None if line is None else int(line.split()[1]) * 1024 / GIB


def _resident() -> float:
    if _STATUS.is_file() and (most := kib_field(_STATUS, "VmHWM")) is not None:
        return most
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / GIB if sys.platform == "darwin" else most * 1024 / GIB


def _on_gpu() -> float:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0.0
    return float(torch.cuda.max_memory_allocated()) / GIB
