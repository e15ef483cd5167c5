"""What can happen to a run, and what should become of it: each scenario gives rows of the fault table."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults import PHASES, TWO, Bench, Run, fault

SAME = "same figures and texts"


@dataclass(frozen=True)
class Outcome:
    """One row of the table.

    Attributes:
        what: the fault.
        phase: in which it happened.
        outcome: what became of the run.
        seconds: of the run, or runs.
        wrong: what should be otherwise; empty for a fault that was survived.
    """

    what: str
    phase: str
    outcome: str
    seconds: float
    wrong: tuple[str, ...] = ()


def fresh(bench: Bench, name: str) -> Path:
    """The folder of a scenario, empty."""
    out = bench.folder / name
    shutil.rmtree(out, ignore_errors=True)
    return out


def wrong_with(bench: Bench, run: Run, out: Path, faults: int, whole: Path | None = None) -> list[str]:
    """Why a run is not what the one without faults is, `whole` or that of one trainer."""
    wrong = [] if len(run.happened) == faults else [f"{len(run.happened)} of {faults} faults happened"]
    wrong += [f"{process} still ran" for process in run.left]
    if run.code:
        return [*wrong, f"exit code {run.code}: {run.last_line}"]
    return wrong + bench.differences(out, whole)[:3]


def actor_killed(bench: Bench, what: str) -> list[Outcome]:
    """An actor is killed once in each phase of one run, which does not stop."""
    out = fresh(bench, f"{what}-killed")
    run = bench.run(out, faults=[fault(what, phase) for phase in PHASES])
    wrong = wrong_with(bench, run, out, len(PHASES))
    again = len(re.findall(rf"{what} actor 0 is started again", run.output))
    if again != len(PHASES):
        wrong.append(f"{again} restarts")
    each = run.seconds / len(PHASES)
    said = f"started again; {SAME}" if not wrong else "the run differs"
    return [Outcome(f"{what} actor, SIGKILL", phase, said, each, tuple(wrong)) for phase in PHASES]


def actor_stopped(bench: Bench, what: str, phase: str) -> list[Outcome]:
    """An actor hangs: it is killed after its time, replaced and asked again."""
    out = fresh(bench, f"{what}-stopped")
    limit = ["--rollout.timeout_s", "10", "--reward.timeout_s", "10"]
    run = bench.run(out, *limit, faults=[fault(what, phase, "SIGSTOP")])
    wrong = wrong_with(bench, run, out, 1)
    if f"{what} actor 0 is started again (restart 1): it did not answer in 10 s" not in run.output:
        wrong.append("it was not replaced")
    said = f"killed after its time limit, replaced; {SAME}" if not wrong else run.last_line
    return [Outcome(f"{what} actor, SIGSTOP", phase, said, run.seconds, tuple(wrong))]


def ended_in_each_phase(
    bench: Bench,
    what: str,
    wrong_end: Callable[[Run], list[str]],
    said: str,
    options: Sequence[str] = (),
    whole: Path | None = None,
) -> list[Outcome]:
    """A process is killed in each phase, which ends the run; each time --resume goes on.

    Args:
        bench: runs it.
        what: the process.
        wrong_end: how a run did not end as it should, its left processes apart.
        said: the outcome where all is well.
        options: of every run.
        whole: of a run without faults; None for that of one trainer.
    """
    out = fresh(bench, f"{what.replace(' ', '-')}-killed")
    rows = []
    for number, phase in enumerate(PHASES):
        run = bench.run(out, *options, *(["--resume"] if number else []), faults=[fault(what, phase)])
        bad = [*(f"{process} still ran" for process in run.left), *wrong_end(run)]
        rows.append((phase, run.seconds, bad))
    last = bench.run(out, *options, "--resume")
    wrong = wrong_with(bench, last, out, 0, whole)
    outcome = said if not wrong else "the run differs"
    return [
        Outcome(f"{what}, SIGKILL", phase, outcome, seconds, tuple(bad + wrong))
        for phase, seconds, bad in rows
    ]


def driver_killed(bench: Bench) -> list[Outcome]:
    """The driver is killed in each phase, and each time --resume goes on with a new head."""

    def wrong_end(run: Run) -> list[str]:
        return [] if run.code == -signal.SIGKILL else [f"exit code {run.code}: {run.last_line}"]

    return ended_in_each_phase(bench, "driver", wrong_end, f"--resume on a new head; {SAME}")


def trainer_killed(bench: Bench, what: str) -> list[Outcome]:
    """One of two trainers is killed in each phase: one line, and each time --resume goes on."""
    whole = fresh(bench, "whole-of-two")
    without_faults = bench.run(whole, *TWO)
    assert without_faults.code == 0, without_faults.output

    def wrong_end(run: Run) -> list[str]:
        wrong = [] if run.code == 1 else [f"exit code {run.code}"]
        errors = [line for line in run.output.splitlines() if line.startswith("error: ")]
        if len(errors) != 1 or not errors[0].startswith("error: a trainer worker failed"):
            wrong.append(f"it said {run.last_line!r}")
        return wrong

    return ended_in_each_phase(bench, what, wrong_end, f"one line, code 1; --resume: {SAME}", TWO, whole)


def driver_signalled(bench: Bench, name: str, phase: str) -> list[Outcome]:
    """SIGTERM or Ctrl-C: the last whole step is kept, nothing is left running, and --resume goes on."""
    out = fresh(bench, f"{name}-{phase}")
    run = bench.run(out, faults=[fault("driver", phase, name)])
    said = "Ctrl-C" if name == "SIGINT" else name
    # Before "train" the step is dropped, from there on it is finished.
    step = PHASES[phase] - (phase not in ("train", "save"))
    line = f"stopped by {said} at step {step} of grpo; go on with --resume"
    wrong = [f"{process} still ran" for process in run.left]
    if run.code != 128 + getattr(signal, name):
        wrong.append(f"exit code {run.code}")
    if line not in run.output.splitlines():
        wrong.append(f"it said {run.last_line!r}, not {line!r}")
    if "Traceback" in run.output or "@ 0x" in run.output:
        wrong.append("a traceback")
    if not (out / f"grpo/checkpoint-{step}/trainer_state.json").is_file():
        wrong.append(f"no checkpoint of step {step}")
    again = bench.run(out, "--resume")
    wrong += wrong_with(bench, again, out, 0)
    outcome = f"code {run.code}, checkpoint of step {step}; --resume: {SAME}" if not wrong else run.last_line
    return [Outcome(f"driver, {name}", phase, outcome, run.seconds + again.seconds, tuple(wrong))]


def head_killed(bench: Bench, program: str) -> list[Outcome]:
    """A part of Ray itself is killed: one line, nothing left running, and --resume goes on with a new one."""
    out = fresh(bench, f"{program}-killed")
    run = bench.run(out, faults=[fault(program, "generate")])
    wrong = [f"{process} still ran" for process in run.left]
    if run.code != 1:
        wrong.append(f"exit code {run.code}")
    errors = [line for line in run.output.splitlines() if "error" in line.lower()]
    if len(errors) != 1 or not errors[0].startswith("error: Ray ended under this run"):
        wrong.append(f"it said {run.last_line!r}")
    again = bench.run(out, "--resume")
    wrong += wrong_with(bench, again, out, 0)
    outcome = f"one line, code 1; --resume on a new head: {SAME}" if not wrong else run.last_line
    return [Outcome(f"{program}, SIGKILL", "generate", outcome, run.seconds + again.seconds, tuple(wrong))]


Scenario = Callable[[Bench], list[Outcome]]
SCENARIOS: dict[str, Scenario] = {
    **{f"{what}-killed": partial(actor_killed, what=what) for what in ("rollout", "reward")},
    "rollout-stopped": partial(actor_stopped, what="rollout", phase="generate"),
    "reward-stopped": partial(actor_stopped, what="reward", phase="score"),
    "driver-killed": driver_killed,
    **{
        f"{what}-trainer-killed": partial(trainer_killed, what=f"{what} trainer")
        for what in ("first", "second")
    },
    "sigterm-generate": partial(driver_signalled, name="SIGTERM", phase="generate"),
    "sigterm-train": partial(driver_signalled, name="SIGTERM", phase="train"),
    "ctrl-c-score": partial(driver_signalled, name="SIGINT", phase="score"),
    "raylet-killed": partial(head_killed, program="raylet"),
    "head-killed": partial(head_killed, program="gcs_server"),
}
