"""Whether the texts of RL can teach anything; if not, a warning says so, or the run stops."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from reverse_codi.errors import UserError
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.scoring import Scores
from reverse_codi.tasks.base import Split
from reverse_codi.training.preflight import check_batch
from reverse_codi.training.prepare import Prepared

log = logging.getLogger(__name__)

# Steps in a row of which none could teach anything.
PATIENCE = 5
# Below this spread TRL divides by its epsilon rather than by the spread.
ALIKE = 1e-6


class NothingLearntError(UserError):
    """Training cannot learn anything from the texts it gets; the message names the key to change."""


def check_thoughts(recipe: Recipe, prepared: Prepared) -> None:
    """Refuse, before the warm start, thoughts of which RL could learn nothing.

    Raises:
        UserError: too few encode a step, or `grpo.max_new_tokens` cuts the texts of all.
    """
    if not recipe.stages:
        return
    thoughts = prepared.thoughts(Split.TRAIN, active_only=True)
    check_batch(recipe, len(thoughts))
    limit = min(section.max_new_tokens for section in (recipe.grpo, *recipe.grpo_sections))
    if notice := check_fits(thoughts.gold, prepared.reasoner.tokenizer, limit):
        log.warning(notice)


def check_fits(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_new_tokens: int) -> str:
    """Compare the texts that the verbalizer was taught with the longest that RL lets it write.

    Args:
        texts: of the warm start, for the thoughts of RL.
        tokenizer: the verbalizer's.
        max_new_tokens: the end token included.

    Returns:
        A line for the user about those that are too long; "" where none is.

    Raises:
        NothingLearntError: all are too long, so every text would be cut and get its rewards' worst.
    """
    if not texts:
        return ""
    distinct = list(dict.fromkeys(texts))
    ids = tokenizer(distinct, add_special_tokens=False).input_ids
    length = {text: len(tokens) + 1 for text, tokens in zip(distinct, ids, strict=True)}
    too_long = [text for text in texts if length[text] > max_new_tokens]
    longest = max(length.values())
    if len(too_long) == len(texts):
        raise NothingLearntError(
            f"grpo.max_new_tokens = {max_new_tokens} cuts every text that the warm start taught (the "
            f"shortest has {min(length.values())} tokens, end token included): set it to {longest} or more"
        )
    if not too_long:
        return ""
    share = len(too_long) / len(texts)
    return (
        f"{share:.0%} of the texts that the warm start taught are longer than grpo.max_new_tokens = "
        f"{max_new_tokens} and will be cut (the longest has {longest} tokens)"
    )


class LearningSignal:
    """Looks at each batch of texts.

    Args:
        max_new_tokens: of the recipe, for messages.
        by_column: whether each reward counts against its own group (normalize_then_sum), or their sum.
    """

    def __init__(self, max_new_tokens: int, by_column: bool) -> None:
        self.max_new_tokens = max_new_tokens
        self.by_column = by_column
        self.failed = 0
        """Batches in a row of which every text was cut or empty."""
        self.flat = 0
        """Batches in a row in which no group's texts differed in reward."""

    def __call__(self, step: int, rows: Candidates, scores: Scores) -> None:
        """Count one batch, sampled after `step` optimizer steps.

        Raises:
            NothingLearntError: for `PATIENCE` batches no text was well-formed.
        """
        self.failed = 0 if rows.well_formed else self.failed + 1
        self.flat = 0 if self._teaches(rows, scores) else self.flat + 1
        if self.failed == PATIENCE:
            cut = rows.finished.count(False)
            raise NothingLearntError(
                f"no text of the last {PATIENCE} batches, up to step {step + 1}, could be scored: {cut} of "
                f"the last {len(rows)} did not end within grpo.max_new_tokens = {self.max_new_tokens}, the "
                "others are empty. Raise grpo.max_new_tokens, or give the warm start more warm_start.steps"
            )
        if self.flat and self.flat % PATIENCE == 0:
            log.warning(
                f"step {step + 1}: in {self.flat} batches in a row all texts of a thought got the same "
                "reward, which teaches nothing; raise grpo.temperature or grpo.samples, or change the rewards"
            )

    def _teaches(self, rows: Candidates, scores: Scores) -> bool:
        """Whether some thought's texts differ in what counts."""
        counted = [column for name, column in scores.columns.items() if scores.weights[name]]
        for column in counted if self.by_column else [scores.total]:
            of_thought: dict[int, list[float]] = {}
            for thought, value in zip(rows.thoughts, column, strict=True):
                of_thought.setdefault(thought, []).append(0.0 if value is None else value)
            if any(max(values) - min(values) > ALIKE for values in of_thought.values()):
                return True
        return False
