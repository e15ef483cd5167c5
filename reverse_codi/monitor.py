"""What a run writes down: metrics.jsonl, completions, held-out figures, the best checkpoint."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from reverse_codi.evaluation.translation import Scored
from reverse_codi.files import write_whole
from reverse_codi.grpo import Keep
from reverse_codi.policy_sync import PolicySync
from reverse_codi.rows import Rows
from reverse_codi.scoring import Scores
from reverse_codi.thought_rollouts import Rollouts

METRICS, COMPLETIONS, BEST, BEST_FIGURES = "metrics.jsonl", "completions.jsonl", "best", "best.json"


class JsonLog:
    """One JSON object a line, flushed at once, so that a killed run keeps what it wrote."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

    def write(self, record: dict[str, Any]) -> None:
        """Append one record."""
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()


def rewind(out: Path, step: int) -> None:
    """Drop what a run wrote into `out` after `step` optimizer steps; it is done again from there.

    Args:
        out: folder of the run.
        step: of the checkpoint that the run goes on from; 0 for a new run, which has no best yet.
    """
    # A text of step s was sampled before its optimizer step s + 1; a line that a kill cut short goes too.
    for name, last in ((METRICS, step), (COMPLETIONS, step - 1)):
        if (out / name).is_file():
            lines = (out / name).read_text().splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= last]
            temporary = out / f"{name}.tmp"
            temporary.write_text("".join(kept if step else []))
            os.replace(temporary, out / name)
    if step == 0:
        (out / BEST_FIGURES).unlink(missing_ok=True)
        shutil.rmtree(out / BEST, ignore_errors=True)


class Completions:
    """Saves every sampled text with its rewards."""

    def __init__(self, path: Path) -> None:
        self.log = JsonLog(path)

    def __call__(self, step: int, rows: Rows, scores: Scores) -> None:
        """Append one batch: each reward as its function gave it, and what they add up to."""
        for i, text in enumerate(rows.texts):
            self.log.write(
                {
                    "step": step,
                    "policy": rows.policy_version,
                    "site": str(rows.sites[i]),
                    "question": rows.questions[i],
                    "text": text,
                    "match": scores.match[i],
                    "total": scores.total[i],
                    **{name: values[i] for name, values in scores.raw.items()},
                }
            )


class Monitor(TrainerCallback):
    """Logs each step, evaluates on held-out thoughts, keeps the best policy.

    By content rather than by match: a prototype's match rose while what its texts said stood still.

    Args:
        rollouts: gives phase timings and rollout figures.
        sync: gives the canary's difference and the current version.
        evaluate: translates held-out thoughts with policy `version` and scores them.
        every: steps between evaluations.
        keep: which evaluated policy is kept.
        out: folder of metrics.jsonl and of `best/`.
        console: for the reader at the terminal.
    """

    def __init__(
        self,
        rollouts: Rollouts,
        sync: PolicySync,
        evaluate: Callable[[int], Scored],
        every: int,
        keep: Keep,
        out: Path,
        console: Console,
    ) -> None:
        self.rollouts = rollouts
        self.sync = sync
        self.evaluate = evaluate
        self.every = every
        self.keep = keep
        self.out = out
        self.console = console
        self.metrics = JsonLog(out / METRICS)
        self.best = self._best_so_far()
        self._step_began = time.perf_counter()

    def _best_so_far(self) -> float:
        """The worth of `best/` when a run is resumed, else below all."""
        file = self.out / BEST_FIGURES
        there = file.is_file() and (self.out / BEST).is_dir()
        return float(json.loads(file.read_text())["worth"]) if there else -math.inf

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate the warm start, which may stay the best; a resumed run without a best, what it has."""
        if state.global_step == 0 or self.best == -math.inf:
            self._evaluate(state.global_step)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the step's clock."""
        self._step_began = time.perf_counter()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write one line; TRL's figures, the rollouts' and the phases'."""
        if not logs or "loss" not in logs:
            return
        phases = self.rollouts.phases.take()
        total = logs.get("step_time", sum(phases.values()))
        phases["train"] = max(0.0, total - sum(phases.values()))
        figures = {**logs, **self.rollouts.scalars, "sync/canary": self.sync.difference}
        figures |= {f"seconds/{name}": value for name, value in phases.items()}
        logs.update(figures)
        self.metrics.write({"step": state.global_step, **figures})
        self.console.print(
            f"step {state.global_step:4d}  reward {logs.get('reward', 0):+.3f}  match "
            f"{figures['rollout/match']:.3f}  distinct {figures['rollout/distinct']:.2f}  "
            + "  ".join(f"{name} {value:.2f}s" for name, value in phases.items())
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate every few steps and at the end."""
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._evaluate(state.global_step)

    def _evaluate(self, step: int) -> None:
        scored = self.evaluate(self.sync(step))
        figures = scored.summary()
        self.metrics.write({"step": step, **{f"heldout/{name}": value for name, value in figures.items()}})
        shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self.console.print(f"[bold]held-out after {step} steps:[/bold] {shown}")
        worth = {"content": scored.content, "match": scored.match, "last": float(step)}[self.keep]
        if worth > self.best:
            self.best = worth
            self._save({"step": step, "worth": worth, **figures})

    def _save(self, figures: dict[str, Any]) -> None:
        """Put the policy into `best/`; a kill leaves an old or a new one, or none and no figures."""
        temporary = self.out / f"{BEST}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        self.sync.policy.save(temporary)
        (self.out / BEST_FIGURES).unlink(missing_ok=True)
        shutil.rmtree(self.out / BEST, ignore_errors=True)
        temporary.rename(self.out / BEST)
        write_whole(self.out / BEST_FIGURES, json.dumps(figures) + "\n")
