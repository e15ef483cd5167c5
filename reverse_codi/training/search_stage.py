"""The stage search: the rollout actors write for some training thoughts, or the logit lens does for all.

The search itself is `training.search`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.plain_text import decoded
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.recipe.reinforce import SearchSection, Stage
from reverse_codi.rollout.base import Finish, Sampling
from reverse_codi.training.actors import Actors
from reverse_codi.training.best_texts import BestTexts, Found
from reverse_codi.training.candidate_rows import CandidateRows
from reverse_codi.training.learning_signal import NothingLearntError
from reverse_codi.training.search import Written, coverage, drawn, search
from reverse_codi.training.sync import CANARY_TEXTS, Canary, PolicySync
from reverse_codi.utils.console import progress
from reverse_codi.verbalize.greedy import prompts_of
from reverse_codi.verbalize.lens_search import lens_search
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.thoughts import Thoughts

log = logging.getLogger(__name__)

# Prompts that the actors get at once: a request must end within its time, and progress should show.
ASKED = 2048


class SearchStage:
    """Searches of one run.

    Args:
        reasoner: whose thoughts they are.
        metric: compares texts with thoughts.
        thoughts: training thoughts that encode a step.
        actors: write and score.
        grpo: longest text, distractors, and the canary's tolerance.
        policies: folder of the policies that rollout actors load.
        gold: the gold text of each thought, for the log alone; none where the task has no gold steps.
    """

    def __init__(
        self,
        reasoner: CodiReasoner,
        metric: ThoughtMetric,
        thoughts: Thoughts,
        actors: Actors,
        grpo: GrpoSection,
        policies: Path,
        gold: Sequence[str],
    ) -> None:
        self.reasoner = reasoner
        self.metric = metric
        self.thoughts = thoughts
        self.actors = actors
        self.grpo = grpo
        self.policies = policies
        self.gold = gold

    def __call__(
        self, stage: Stage, section: SearchSection, policy: Policy, store: BestTexts
    ) -> tuple[list[Found], dict[str, float]]:
        """The texts that this search keeps, and figures of all that were written.

        Args:
            stage: which one of the run.
            section: its settings.
            policy: writes, where the section asks it to.
            store: what former searches kept.

        Raises:
            NothingLearntError: no text makes a claim.
        """
        rows = CandidateRows(self.thoughts, self.grpo.distractors, section.seed)
        written = self.by_lens() if section.source == "lens" else self.by_policy(stage, section, policy)
        found = search(written, store, section, rows, self.metric, self.actors.rewards, policy.tokenizer)
        if not found:
            n = sum(map(len, written.texts.values()))
            raise NothingLearntError(
                f"stage {stage.name}: none of {n:,} finished texts makes a claim, so nothing can be learnt "
                "from them; give the warm start more warm_start.steps, or begin with search.from: lens"
            )
        return found, coverage(written, self.gold) if self.gold else {}

    def by_lens(self) -> Written:
        """What lens search says of every thought: the step that fits best, and it with the likeliest result.

        The first may correct what the model got wrong in its thoughts; the rewards decide between them.
        """
        found = lens_search(self.reasoner, self.thoughts)
        texts = {row: [one.as_said, one.text] for row, one in enumerate(found)}
        return Written(texts, policy=0)

    def by_policy(self, stage: Stage, section: SearchSection, policy: Policy) -> Written:
        """Sampled texts for some thoughts, drawn anew in each stage."""
        rows = drawn(len(self.thoughts), section, stage.number)
        n, texts = section.samples_in(stage.round), dict[int, list[str]]()
        version = self._synced(policy, self.thoughts.take(rows[:CANARY_TEXTS]))
        with progress(f"{stage.name}: thoughts with texts", len(rows)) as advance:
            for start in range(0, len(rows), ASKED):
                began = time.perf_counter()
                part = rows[start : start + ASKED]
                sampling = Sampling(
                    max_new_tokens=self.grpo.max_new_tokens,
                    temperature=section.temperature_in(stage.round),
                    seed=section.seed * 1_000_003 + 1_009 * stage.number + start,
                    stop_ids=(policy.tokenizer.eos_token_id,),
                )
                texts |= self._sampled(part, n, sampling, policy, version)
                log.info(
                    f"{start + len(part):,} of {len(rows):,} thoughts have {n} texts "
                    f"({len(part) * n / (time.perf_counter() - began):,.0f} texts/s)"
                )
                advance(len(part))
        return Written(texts, version)

    def _synced(self, policy: Policy, probe: Thoughts) -> int:
        """Bring the actors to the policy's weights; returns their version."""
        with policy.embedding.bank(policy.verbalizer_config.inject(probe.slots.flatten(0, 1))):
            canary = Canary.of(policy, probe, self.grpo, self.actors.recipe.rollout.engine)
            return PolicySync(policy, self.actors.rollouts, self.policies, canary)(0)

    def _sampled(
        self,
        rows: Sequence[int],
        n: int,
        sampling: Sampling,
        policy: Policy,
        version: int,
    ) -> dict[int, list[str]]:
        """The finished ones of `n` texts of each thought."""
        prompts = prompts_of(policy, self.thoughts.take(rows).slots)
        texts: dict[int, list[str]] = {row: [] for row in rows}
        for rollout in self.actors.rollouts.generate(prompts, n, sampling, version):
            if rollout.finish is Finish.STOP:
                text = decoded(policy.tokenizer, rollout.token_ids.tolist())
                texts[rows[rollout.prompt_index]].append(text)
        return texts
