"""What watches a run: a line of metrics a step, held-out figures, the best policy."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from reverse_codi.processes import stopping, under_way
from reverse_codi.processes.workers import droppable
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.storage.files import nulled
from reverse_codi.storage.json_lines import JsonLog, json_lines
from reverse_codi.trackers.tracker import log_point
from reverse_codi.training.records import HELDOUT, METRICS, best_worth, heldout, keep_best
from reverse_codi.training.rollouts import Rollouts
from reverse_codi.utils.finite import NotFiniteError, check_loss
from reverse_codi.verbalize.scores import Scored

log = logging.getLogger(__name__)


class Monitor(TrainerCallback):
    """Logs each step, evaluates on held-out thoughts, keeps the best policy.

    By content rather than by match: a prototype's match rose while the content of its texts did not.

    Args:
        rollouts: gives phase timings and rollout figures; its sync the canary's difference and the policy.
        evaluate: translates held-out thoughts with policy `version` and scores them.
        section: says how often (`eval_every`) and which evaluated policy is kept (`keep`).
        out: folder of metrics.jsonl and of `best/`.
    """

    def __init__(
        self,
        rollouts: Rollouts,
        evaluate: Callable[[int], Scored],
        section: GrpoSection,
        out: Path,
    ) -> None:
        self.rollouts = rollouts
        self.sync = rollouts.sync
        self.evaluate = evaluate
        self.section = section
        self.out = out
        self.metrics = JsonLog(out / METRICS)
        worth = best_worth(out)
        self.best = -math.inf if worth is None else worth
        self._step_began = time.perf_counter()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate the warm start, which may stay the best; a resumed run, what it has not evaluated.

        Raises:
            StopAsked: a signal asked for the end.
        """
        state.compute_steps(args, state.max_steps)  # a loaded state brings the former run's save_steps
        if state.global_step == 0 or self.best == -math.inf or self._is_due(state.global_step):
            with droppable():
                self._evaluate(state.global_step)

    def _is_due(self, step: int) -> bool:
        """Whether a run that a signal stopped at `step` left its evaluation to this one."""
        if step % self.section.eval_every:
            return False
        done = (line for line in json_lines(self.metrics.path) if line["step"] == step)
        return not any(name.startswith(HELDOUT) for line in done for name in line)

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
        # TRL logs rewards once a batch, which may serve several steps.
        reward = f"reward {logs['reward']:+.3f}" if "reward" in logs else "the batch again"
        log.info(
            f"step {state.global_step:4d}  {reward}  match "
            f"{figures['rollout/match']:.3f}  distinct {figures['rollout/distinct']:.2f}  "
            + "  ".join(f"{name} {value:.2f}s" for name, value in phases.items())
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate every few steps and at the end; bring the actors along before a checkpoint is saved.

        So no checkpoint is kept, and none rotated away for it, that the canary would refuse.
        """
        # Who sent a signal may wait for seconds only: the run that goes on does it.
        if stopping.asked() and state.global_step < state.max_steps:
            return
        if state.global_step % self.section.eval_every == 0 or state.global_step == state.max_steps:
            self._evaluate(state.global_step)
        elif control.should_save:
            with under_way.phase("sync"):
                self.rollouts.bring(state.global_step)

    def _evaluate(self, step: int) -> None:
        with under_way.phase("evaluate"):
            scored = self.evaluate(self.rollouts.bring(step))
        figures = scored.summary()
        self.metrics.write({"step": step, **heldout(figures)})
        log_point(heldout(figures), step)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        log.info(f"held-out after {step} steps: {shown}")
        keep = self.section.keep
        worth = scored.worth(keep, step)
        if not math.isfinite(worth):
            raise NotFiniteError(
                f"{keep} of the held-out translations after {step} steps is {worth}, so no policy can "
                f"be chosen by it; see heldout/* in {self.metrics.path}, or set grpo.keep: last"
            )
        if worth > self.best:
            self.best = worth
            keep_best(self.out, self.sync.policy, {"step": step, "worth": worth, **figures})
