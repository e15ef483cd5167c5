"""The evaluation within a run: held-out thoughts that curves show and the best policy is chosen on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from reverse_codi.recipe.schema import Recipe
from reverse_codi.rollout.pool import RolloutPool
from reverse_codi.rollout.transformers_engine import TransformersEngine
from reverse_codi.storage.files import write_whole
from reverse_codi.tasks.base import Split
from reverse_codi.trackers.tracker import log_point
from reverse_codi.training.prepare import Prepared
from reverse_codi.training.records import heldout
from reverse_codi.verbalize.greedy import Generate, engine_config, greedy
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.scores import Scored, score
from reverse_codi.verbalize.thoughts import Thoughts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """Held-out causally active thoughts, translated greedily and scored.

    Attributes:
        thoughts: what is translated.
        prepared: gives the metric that scores.
        max_new_tokens: longest text.
    """

    thoughts: Thoughts
    prepared: Prepared
    max_new_tokens: int

    @classmethod
    def of(cls, recipe: Recipe, prepared: Prepared) -> Self:
        """The first `grpo.eval_thoughts` of them."""
        thoughts = prepared.thoughts(Split.HELDOUT, active_only=True)
        chosen = thoughts.take(range(min(len(thoughts), recipe.grpo.eval_thoughts)))
        return cls(chosen, prepared, recipe.grpo.max_new_tokens)

    def by_policy(self, policy: Policy) -> Scored:
        """Let the policy's own model write."""
        config = engine_config(self.prepared.reasoner, max_sequences=len(self.thoughts))
        return self._written(TransformersEngine(policy.model, config).generate, policy)

    def curve(self, policy: Policy, file: Path, name: str, done: int = 0) -> Callable[[int], None]:
        """What a fine-tuning calls with its step: evaluates the policy, and writes a point to a CSV file.

        Args:
            policy: under training.
            file: of the curve.
            name: of the stage, in the log.
            done: steps that a former run took; its points up to there stay.
        """
        lines = _points(file, done)
        before = float(lines[-1].split(",")[1]) if lines else 0.0
        began = time.perf_counter() - before

        def point(step: int) -> None:
            seconds = time.perf_counter() - began
            figures = self.by_policy(policy).summary()
            lines.append(f"{step},{seconds:.1f}," + ",".join(f"{value:.4f}" for value in figures.values()))
            log_point(heldout(figures), step)
            write_whole(file, "\n".join(["step,seconds," + ",".join(figures), *lines]) + "\n")
            log.info(f"{name} {step}: " + "  ".join(f"{k} {v:.3f}" for k, v in figures.items()))

        return point

    def by_actors(self, policy: Policy, pool: RolloutPool, version: int) -> Scored:
        """Let the rollout actors write, which hold policy `version`."""
        return self._written(partial(pool.generate, version=version), policy)

    def _written(self, generate: Generate, policy: Policy) -> Scored:
        texts = greedy(generate, policy, self.thoughts.slots, self.max_new_tokens)
        return score(self.thoughts, texts, self.prepared.metric)


def _points(file: Path, done: int) -> list[str]:
    """The lines of a curve up to a step."""
    lines = file.read_text().splitlines()[1:] if done and file.is_file() else []
    return [line for line in lines if int(line.partition(",")[0]) <= done]
