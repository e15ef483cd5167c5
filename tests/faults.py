"""Faults of a training run of the tiny model, and what became of it; for tests and `scripts/fault_table`."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from reverse_codi.processes import keeper
from tests.tiny import make_sharp_reasoner

ROOT = Path(__file__).parents[1]
STEPS = 6
# Sync is real at the begin of a step only where the step before saved no checkpoint.
SAVE_EVERY = 2
# Phase -> the step in which it is hit, in the order in which they come.
PHASES = {"sync": 2, "generate": 3, "score": 4, "save": 4, "train": 5}
# What a killed run's processes may take to end.
GONE_S = 20.0
# Costs, which are not compared: a new reward actor has read no text yet, so it reads more.
COSTS = ("seconds/", "step_time", "peak_gib", "rollout/texts_read")
# Options of a run with two trainers.
TWO = ("--train.workers", "2", "--placement.trainer_cpus", "0.5")


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Attributes:
        code: its exit code; negative is the signal that ended it.
        output: standard output and error.
        happened: the faults that happened.
        left: what still ran after `GONE_S` seconds, by title.
        seconds: it took.
    """

    code: int
    output: str
    happened: list[dict[str, Any]]
    left: list[str]
    seconds: float

    @property
    def last_line(self) -> str:
        """What the user sees at the end."""
        return next(iter(self.output.strip().splitlines()[::-1]), "")


def fault(what: str, phase: str, signal: str = "SIGKILL") -> dict[str, Any]:
    """One fault of a plan, see `tests.fault_driver`."""
    return {"what": what, "signal": signal, "phase": phase, "step": PHASES[phase]}


class Bench:
    """A recipe, and the run without faults that others are compared with.

    Args:
        folder: of everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = folder / "recipe.yaml"
        self.whole = folder / "whole"
        make_sharp_reasoner(hidden=64).save_pretrained(folder / "reasoner")
        self.recipe.write_text(
            "log: {report_to: []}\n"
            f"reasoner: {{path: {folder / 'reasoner'}}}\n"
            f"trace: {{out: {folder / 'traces'}, n: 120, n_heldout: 40, shard_rows: 120}}\n"
            "reading: {encoded_threshold: 0.01, fit_on: gold}\n"
            "verbalizer: {rank: 4, alpha: 8}\n"
            "warm_start: {kind: gold, steps: 60, batch_size: 32, eval_steps: 60, learning_rate: 1.0e-2, "
            "word_dropout: 0.2}\n"
            "rollout: {cpus: 0.4, timeout_s: 60, engine: {kind: transformers, max_model_len: 64}}\n"
            "reward: {cpus_per_actor: 0.4, timeout_s: 60, "
            "functions: [hidden_match, {name: brevity, weight: 0.1}]}\n"
            f"grpo: {{steps: {STEPS}, thoughts_per_step: 4, samples: 4, max_new_tokens: 8, "
            f"eval_every: {STEPS}, eval_thoughts: 32, save_every: {SAVE_EVERY}, distractors: 3, "
            "learning_rate: 1.0e-3}\n"
        )

    def run(self, out: Path, *words: str, faults: Sequence[dict[str, Any]] = ()) -> Run:
        """Train into `out` with faults; the warm start of the run without faults is taken over.

        Args:
            out: folder of the run.
            words: of the command line after the recipe.
            faults: what happens.
        """
        if self.whole.is_dir() and not out.is_dir():
            for part in ("warm", "reading"):
                shutil.copytree(self.whole / part, out / part)
        plan = self.folder / f"{out.name}.json"
        for file in (plan.with_suffix(".done"), plan.with_suffix(".session")):
            file.unlink(missing_ok=True)
        plan.write_text(json.dumps(list(faults)))
        command = [sys.executable, "-m", "tests.fault_driver", str(plan), str(self.recipe)]
        began = time.monotonic()
        done = subprocess.run(
            [*command, "--train.out", str(out), *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            timeout=600,
        )
        seconds = time.monotonic() - began
        session, happened = plan.with_suffix(".session"), plan.with_suffix(".done")
        return Run(
            done.returncode,
            done.stdout,
            [json.loads(line) for line in happened.read_text().splitlines()] if happened.is_file() else [],
            outliving(session.read_text()) if session.is_file() else [],
            seconds,
        )

    def run_whole(self) -> Run:
        """The run without faults."""
        made = self.run(self.whole)
        assert made.code == 0, made.output
        return made

    def differences(self, out: Path, whole: Path | None = None) -> list[str]:
        """Figures and texts of a run that are not those of one without faults; empty if all are.

        Args:
            out: folder of the run.
            whole: of the run without faults; None for that of one trainer.
        """
        files = ("metrics.jsonl", "completions.jsonl")
        return [
            line
            for file in files
            for line in compared(lines((whole or self.whole) / file), lines(out / file))
        ]


def outliving(session: str) -> list[str]:
    """Processes of a Ray, and its keeper, that are still there `GONE_S` seconds after the end of its run."""
    deadline = time.monotonic() + GONE_S

    def found() -> list[psutil.Process]:
        words = ((p, p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
        keepers = [process for process, of in words if keeper.__name__ in of and session in of]
        return [*keeper.of_session(session), *keepers]

    while (left := found()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return [f"{process.pid} {process.name()} {process.status()}" for process in left]


def lines(file: Path) -> list[dict[str, Any]]:
    """The records of a file; the held-out ones of a step first, whenever they were made."""
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    return sorted(found, key=lambda line: (line["step"], "loss" in line))


def compared(wanted: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> list[str]:
    """What differs between two lists of records, costs left out."""
    if len(wanted) != len(found):
        return [f"{len(found)} lines, not {len(wanted)}"]
    differing = []
    for one, other in zip(wanted, found, strict=True):
        for key in sorted(one.keys() | other.keys()):
            if not key.startswith(COSTS) and not _same(one.get(key), other.get(key)):
                differing.append(f"step {one.get('step')}: {key} = {other.get(key)}, not {one.get(key)}")
    return differing


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)
    return bool(one == other)
