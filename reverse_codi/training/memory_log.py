"""What each process of a run took: a line of `memory.jsonl` for each stage and process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reverse_codi.processes import under_way
from reverse_codi.processes.memory import Peak, peak, restart_peak
from reverse_codi.storage.json_files import read_object
from reverse_codi.storage.json_lines import JsonLog
from reverse_codi.trackers.tracker import log_point

MEMORY, PLAN = "memory.jsonl", "plan.json"
TRAINER = "trainer"


class MemoryLog:
    """Writes down what the processes of a run took.

    A line has `stage`, `process`, `peak_gib` (of the machine's memory), `gpu_gib` (of a GPU, torch's tensors
    alone) and `planned_gib` (null where nothing was planned); for the trainer `seconds` too. The trainer's
    peak is that of the stage, an actor's that of its life so far.

    Args:
        out: folder of the run; its `plan.json` says what was planned.
    """

    def __init__(self, out: Path) -> None:
        self.log = JsonLog(out / MEMORY)
        file = out / PLAN
        plan = read_object(file, "remove it; the next run writes it anew") if file.is_file() else {}
        self.planned: dict[str, float] = plan.get("peaks", {})

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure this process within a block."""
        restart_peak()
        began = time.perf_counter()
        with under_way.stage(name):
            yield
        seconds, most = round(time.perf_counter() - began, 1), peak()
        self._write(name, TRAINER, most, {"seconds": seconds})
        log_point({f"seconds/{name}": seconds, f"peak_gib/{name}": round(most.host, 3)})

    def actors(self, stage: str, peaks: Mapping[str, Peak]) -> None:
        """Note what actors, by name, have taken so far."""
        for process, most in peaks.items():
            self._write(stage, process, most, {})

    def _write(self, stage: str, process: str, most: Peak, more: Mapping[str, float]) -> None:
        kind = process.partition(" ")[0]  # "rollout 0"
        planned = self.planned.get(f"{process}: {stage}", self.planned.get(kind))
        figures = {"peak_gib": round(most.host, 3), "gpu_gib": round(most.gpu, 3), "planned_gib": planned}
        self.log.write({"stage": stage, "process": process, **more, **figures})
