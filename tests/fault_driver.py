"""`python -m tests.fault_driver PLAN RECIPE [--resume] [--KEY VALUE ...]`: a run to which faults happen.

PLAN is a JSON file, a list of faults: {"what", "signal", "step", "phase"}. Each happens once, when its phase
of its step begins; what the driver does to itself in "save" happens while the checkpoint is half there. What
happened is appended to PLAN.done, a line a fault, and the session of the run's Ray stands in PLAN.session.

With several trainers the first one runs the method, so the faults come from there: "first trainer" is that
process, "second trainer" the others.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ray._private.worker import global_worker

from reverse_codi.cli.main import main
from reverse_codi.processes import keeper, ray_session, under_way
from reverse_codi.processes.process_memory import title
from reverse_codi.training import several_workers

# What is hit -> how its title, or its program's name, begins.
TITLES = {"rollout": "ray RolloutActor", "reward": "ray RewardActor", "second trainer": "ray RayTrainWorker"}
PROGRAMS = ("raylet", "gcs_server")


def session() -> str:
    """The folder of the Ray that this process started, or is a worker of; "" before there is one."""
    if started := ray_session.folder():
        return started
    return global_worker.node.get_session_dir_path() if global_worker.node is not None else ""


def processes(what: str) -> list[int]:
    """The process ids that a fault hits."""
    if what in ("driver", "first trainer"):
        return [os.getpid()]
    found = keeper.of_session(session())
    if what in PROGRAMS:
        return [process.pid for process in found if process.name() == what]
    return [process.pid for process in found if title(process).startswith(TITLES[what])]


class Faults:
    """Makes the faults of a plan happen."""

    def __init__(self, plan: Path) -> None:
        self.plan = plan
        self.left: list[dict[str, Any]] = json.loads(plan.read_text())

    def __call__(self, doing: under_way.Doing) -> None:
        if folder := session():
            self.plan.with_suffix(".session").write_text(folder)
        for fault in [f for f in self.left if (f["step"], f["phase"]) == (doing.step, doing.phase)]:
            self.left.remove(fault)
            if fault["what"] == "driver" and fault["phase"] == "save":
                threading.Thread(target=self.half_saved, args=(fault,), daemon=True).start()
            else:
                self.happens(fault)

    def happens(self, fault: dict[str, Any]) -> None:
        hit = processes(fault["what"])
        assert hit, f"nothing to hit: {fault}"
        with self.plan.with_suffix(".done").open("a") as done:
            done.write(json.dumps({**fault, "pids": hit}) + "\n")
        for pid in hit:
            os.kill(pid, getattr(signal, fault["signal"]))

    def half_saved(self, fault: dict[str, Any]) -> None:
        out = Path(sys.argv[sys.argv.index("--train.out") + 1], "grpo", f"checkpoint-{fault['step']}")
        while not (out / "adapter_model.safetensors").is_file():
            time.sleep(0.001)
        self.happens(fault)


def with_faults(config: dict[str, Any], method: Any, plan: Path, work: Any) -> Any:
    """What a trainer worker does, with faults in the phases of the first."""
    under_way.listeners.append(Faults(plan))
    return work(config, method=method)


if __name__ == "__main__":
    file, *words = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are to ignore it
    under_way.listeners.append(Faults(Path(file)))
    # By its module, which the workers import: what __main__ holds cannot be sent.
    driver = import_module("tests.fault_driver")
    several_workers._work = partial(driver.with_faults, plan=Path(file).resolve(), work=several_workers._work)
    main(["train", *words])
