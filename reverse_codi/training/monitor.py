"""What a run writes down: metrics.jsonl, completions, held-out figures, the best checkpoint."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from reverse_codi.recipe.grpo import Keep
from reverse_codi.rewards.batch import FIGURES, figure
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.scoring import Scores
from reverse_codi.training.rollouts import Rollouts
from reverse_codi.training.sync import PolicySync
from reverse_codi.utils.config import UserError
from reverse_codi.utils.files import figures_json, nulled, whole_folder, write_whole
from reverse_codi.utils.finite import NotFiniteError, check_loss
from reverse_codi.utils.tracker import log_point
from reverse_codi.verbalize.scores import Scored

METRICS, COMPLETIONS, BEST, BEST_FIGURES = "metrics.jsonl", "completions.jsonl", "best", "best.json"
OWN_COLUMNS = ("step", "policy", "site", "question", "text", "match", "total")
"""Of completions; those of rewards are `reward/NAME`."""


class JsonLog:
    """One JSON object a line, flushed at once, so that a killed run keeps what it wrote."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; figures that are not finite become null."""
        with self.path.open("a") as file:
            file.write(figures_json(record) + "\n")
            file.flush()


def rewind(out: Path, step: int) -> str:
    """Drop what a run wrote into `out` after `step` optimizer steps; it is done again from there.

    Args:
        out: folder of the run.
        step: of the checkpoint that the run goes on from; 0 for a new run, which has no best yet.

    Returns:
        What the user should know: an earlier version wrote the file, and its columns were renamed; "" if not.

    Raises:
        UserError: a line does not say its step, since a user's figure of that name took the place.
    """
    renamed = ""
    # A text of step s was sampled before its optimizer step s + 1; a line that a kill cut short goes too.
    for name, last in ((METRICS, step), (COMPLETIONS, step - 1)):
        if (out / name).is_file():
            lines = (out / name).read_text().splitlines(keepends=True) if step else []
            records = [json.loads(line) for line in lines if line.endswith("\n")]
            kept = [record for record in records if _step_of(record, out / name) <= last]
            if name == COMPLETIONS and any(map(_is_of_old, kept)):
                kept = [_renamed(record) for record in kept]
                renamed = (
                    f"{out / name} is of an earlier version: its columns of rewards are now called "
                    f"{FIGURES}NAME, and so are new figures that rewards log in {METRICS}"
                )
            write_whole(out / name, "".join(figures_json(record) + "\n" for record in kept))
    if step == 0:
        (out / BEST_FIGURES).unlink(missing_ok=True)
        shutil.rmtree(out / BEST, ignore_errors=True)
    return renamed


def _step_of(record: dict[str, Any], file: Path) -> int:
    """The step of a record; where an earlier version let a user's figure take its place, it is a float."""
    step = record.get("step")
    if not isinstance(step, int):
        raise UserError(
            f"{file} has a line of step {step!r}: an earlier version let a reward's figure called 'step' "
            "take its place; move the file away, and the run goes on without its lines"
        )
    return step


def _is_of_old(record: dict[str, Any]) -> bool:
    """Whether a completion's rewards have no name space of their own yet."""
    return not any(key.startswith(FIGURES) for key in record)


def _renamed(record: dict[str, Any]) -> dict[str, Any]:
    """A completion with the columns of its rewards named as they are now."""
    known = {*OWN_COLUMNS, *(key for key in record if key.startswith(FIGURES))}
    return {key if key in known else figure(key): value for key, value in record.items()}


class Completions:
    """Saves every sampled text with its rewards."""

    def __init__(self, path: Path) -> None:
        self.log = JsonLog(path)

    def __call__(self, step: int, rows: Candidates, scores: Scores) -> None:
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
                    **{figure(name): values[i] for name, values in scores.raw.items()},
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
        worth = json.loads(file.read_text())["worth"] if there else None
        # What an earlier version wrote may be NaN, which nothing would ever exceed.
        return float(worth) if worth is not None and math.isfinite(worth) else -math.inf

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate the warm start, which may stay the best; a resumed run without a best, what it has."""
        state.compute_steps(args, state.max_steps)  # a loaded state brings the former run's save_steps
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
        if state.log_history:  # goes into each checkpoint's trainer_state.json
            state.log_history[-1] = nulled(state.log_history[-1])
        check_loss(logs["loss"], state.global_step, "grpo.learning_rate", args.learning_rate)
        self.console.print(
            f"step {state.global_step:4d}  reward {logs.get('reward', 0):+.3f}  match "
            f"{figures['rollout/match']:.3f}  distinct {figures['rollout/distinct']:.2f}  "
            + "  ".join(f"{name} {value:.2f}s" for name, value in phases.items())
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate every few steps and at the end; bring the actors along before a checkpoint is saved.

        So no checkpoint is kept, and none rotated away for it, that the canary would refuse.
        """
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._evaluate(state.global_step)
        elif control.should_save:
            self.sync(state.global_step)

    def _evaluate(self, step: int) -> None:
        scored = self.evaluate(self.sync(step))
        figures = scored.summary()
        heldout = {f"heldout/{name}": value for name, value in figures.items()}
        self.metrics.write({"step": step, **heldout})
        log_point(heldout, step)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self.console.print(f"[bold]held-out after {step} steps:[/bold] {shown}")
        worth = {"content": scored.content, "match": scored.match, "last": float(step)}[self.keep]
        if not math.isfinite(worth):
            raise NotFiniteError(
                f"{self.keep} of the held-out translations after {step} steps is {worth}, so no policy can "
                f"be chosen by it; see heldout/* in {self.metrics.path}, or set grpo.keep: last"
            )
        if worth > self.best:
            self.best = worth
            self._save({"step": step, "worth": worth, **figures})

    def _save(self, figures: dict[str, Any]) -> None:
        """Put the policy into `best/`; a kill leaves an old or a new one, or none and no figures."""
        with whole_folder(self.out / BEST) as temporary:
            self.sync.policy.save(temporary)
            (self.out / BEST_FIGURES).unlink(missing_ok=True)
        write_whole(self.out / BEST_FIGURES, figures_json(figures) + "\n")
