"""The stage GRPO: rollout actors write, reward actors score, TRL's trainer learns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.scoring import Scores
from reverse_codi.tasks.base import Split
from reverse_codi.trackers.tracker import tracked
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS
from reverse_codi.trainers.finite_steps import StopAtNonFinite
from reverse_codi.trainers.mirrors import PushCheckpoints
from reverse_codi.trainers.progress import steps_shown
from reverse_codi.trainers.stop import StopWhenAsked
from reverse_codi.training.actors import Actors
from reverse_codi.training.content_check import ContentWatch
from reverse_codi.training.dropped_step import LastWholeStep, whole_steps_kept
from reverse_codi.training.grpo import build_trainer
from reverse_codi.training.learning_signal import LearningSignal
from reverse_codi.training.monitor import Monitor
from reverse_codi.training.prepare import Prepared
from reverse_codi.training.records import COMPLETIONS, Completions
from reverse_codi.training.rollouts import Rollouts
from reverse_codi.training.run_folder import RunFolder
from reverse_codi.training.selection import Selection
from reverse_codi.training.shared_grpo import SharedGrpo, SharedRollouts
from reverse_codi.training.sync import Canary, PolicySync
from reverse_codi.verbalize.micro_batches import end_checkpointing
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.with_others import with_others

log = logging.getLogger(__name__)


def grpo(recipe: Recipe, prepared: Prepared, policy: Policy, run: RunFolder, actors: Actors) -> None:
    """GRPO on the causally active training thoughts; the policy that `grpo.keep` asks for is in `run.best`.

    Args:
        recipe: of the run; its section `grpo` is the stage's.
        prepared: traces and metric.
        policy: where it starts; its weights are changed.
        run: the stage's folder, and where the stage starts.
        actors: of the run.

    Raises:
        UserError: steps that teach nothing, or weights that are not finite.
    """
    section, start = recipe.grpo, run.start
    if start.done >= section.steps:  # transformers would take one more step
        log.info(f"all {section.steps} steps are done: {start.checkpoint}")
        return
    pool, rewards = actors.rollouts, actors.rewards
    thoughts = prepared.thoughts(Split.TRAIN, active_only=True)
    selection = Selection.of(recipe, prepared)
    run.rewind()
    with (
        policy.embedding.bank(policy.verbalizer_config.inject(thoughts.slots.flatten(0, 1))),
        tracked(
            recipe, run.stage, run.path, job="grpo", again=start.done > 0, first=start.done + 1
        ) as reporting,
    ):
        canary = Canary.of(policy, thoughts, section, recipe.rollout.engine)
        sync = PolicySync(policy, pool, run.policies, canary)
        rollouts = Rollouts(thoughts, sync, rewards, section, text_watch(recipe, run))
        watch = ContentWatch(selection.thoughts.problems)
        evaluate = partial(selection.by_actors, policy, pool)
        monitor = Monitor(rollouts, lambda version: watch(evaluate(version)), section, run.path)
        stop = StopAtNonFinite("grpo.learning_rate", run.checkpoints, POLICY_WEIGHTS)
        lengths = [len(claims) for claims in thoughts.claims]
        last = LastWholeStep(start.done)
        watching = [StopWhenAsked(run.stage), stop, monitor, last, PushCheckpoints()]
        trainer = build_trainer(
            policy, SharedRollouts(rollouts), lengths, recipe, run.checkpoints, watching, reporting
        )
        shared = partial(
            SharedGrpo, lengths=lengths, section=section, out=run.checkpoints, checkpoint=start.checkpoint
        )
        with (
            with_others(policy, run.path, shared),
            steps_shown(trainer, "GRPO", losses=False),  # the monitor has a line a step
            whole_steps_kept(trainer, last, run.stage),
        ):
            trainer.train(resume_from_checkpoint=start.checkpoint)
        end_checkpointing(policy.model)


def text_watch(recipe: Recipe, run: RunFolder) -> Callable[[int, Candidates, Scores], None]:
    """What is called with every batch of texts: saves them, and stops a run that can learn nothing."""
    completions = Completions(run.path / COMPLETIONS)
    by_column = recipe.reward.aggregation == "normalize_then_sum"
    signal = LearningSignal(recipe.grpo.max_new_tokens, by_column)

    def watch(step: int, rows: Candidates, scores: Scores) -> None:
        completions(step, rows, scores)
        signal(step, rows, scores)

    return watch
