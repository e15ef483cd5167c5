"""Peak memory of a GRPO step, all processes together: a side in a process of its own.

`python -m benchmarks.memory SIDE FOLDER` takes the steps of one side.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench_baseline import PlainLoop, trl_trainer

from benchmarks.measure import MEMORY, Row, Side
from benchmarks.setting import Setting, setting
from benchmarks.step import STEPS, our_step, step_recipe, thoughts_of, work_of
from benchmarks.stepper import Stepper
from reverse_codi.processes.process_memory import watched
from reverse_codi.training.runtime import start_ray

TAKEN, THOUGHTS = 2, 64
SIDES = {"ours": "ours: trainer, rollout and reward actor, Ray", "trl": "TRL alone", "plain": "plain loop"}


@contextmanager
def memory(at: Setting, work: Path) -> Iterator[Row]:
    """The peak of all processes of a side, pages that they share counted once; ours also the trainer's."""
    work.mkdir(parents=True, exist_ok=True)

    def peak(side: str) -> Callable[[], float]:
        def run() -> float:
            words = [sys.executable, "-m", "benchmarks.memory", side, str(work / side)]
            with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process, watched(process.pid) as taken:
                code = process.wait()
                found = taken()
            assert code == 0, f"{side} ended with {code}"
            for one in found.by_name()[:5]:
                print(f"  {side}: {one.name} {one.resident:.2f} GiB, its share {one.share:.2f}")
            return found.total

        return run

    yield Row(
        "memory",
        MEMORY,
        [Side(says, peak(side)) for side, says in SIDES.items()],
        {"memory.vs_trl": (SIDES["ours"], SIDES["trl"]), "memory.vs_plain": (SIDES["ours"], SIDES["plain"])},
    )


def take(side: str, work: Path) -> None:
    """Take the steps of one side."""
    at = setting("1m", THOUGHTS, work)
    recipe, thoughts = step_recipe(at), thoughts_of(at)
    with ExitStack() as stack:
        if side == "ours":
            start_ray()
            stepper, _ = our_step(at, recipe, thoughts, work, stack)
            step = stepper.step
        elif side == "trl":
            trainer = trl_trainer(work_of(at, recipe, thoughts, stack), work / "trl", STEPS)
            step = stack.enter_context(Stepper(trainer)).step
        else:
            step = PlainLoop(work_of(at, recipe, thoughts, stack)).step
        for _ in range(TAKEN):
            step()


if __name__ == "__main__":
    take(sys.argv[1], Path(sys.argv[2]))
