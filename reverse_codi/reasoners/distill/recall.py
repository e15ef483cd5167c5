"""A first phase for new models: recall what a question states.

To follow "Tom is a bolim. Every bolim is a dulk.", a model must find the one statement that begins with the
class that it holds (associative recall, arXiv 2312.04927; induction heads, arXiv 2209.11895). Solutions alone
hardly teach that. The model can guess between the two classes of a question, and a small model never stops
guessing (docs/prosqa.md). Here it recites statements that it has just read, in another order, until it
succeeds. Two things make that a matter of minutes:

* Statements of one recital share no word, so only the statement itself says how it continues.
* Words that many statements share ("is", "a") are left out at first, so that what belongs together stands
together.
  They come back as soon as recital succeeds.

Whether a small model finds the way is chance, so there are several attempts with newly drawn weights.

Shapes: B recitals, Q and T tokens.
"""

from __future__ import annotations

import logging
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reverse_codi.errors import UserError
from reverse_codi.reasoners.distill.data import padded
from reverse_codi.reasoners.distill.loss import token_logits
from reverse_codi.reasoners.latent_lm import LatentLM
from reverse_codi.recipe.distill import WARM_UP, Recall
from reverse_codi.utils.console import progress
from reverse_codi.utils.finite import check_loss

log = logging.getLogger(__name__)

# Of all statements; a word in more of them is a common one.
COMMON = 0.25
# A running mean over about twenty batches.
DECAY = 0.95
# No attempt takes longer than this many times the patience.
PATIENCES = 3
# Share of right recitals at which common words come back, the steps for that, the share that ends the phase.
KNOWN, RETURN, DONE = 0.8, 400, 0.97


@dataclass(frozen=True)
class Recital:
    """A batch; every mask is 1 at real tokens.

    Attributes:
        read, read_mask: [B, Q] statements, then the begin-of-thought token; padded on the left.
        recited, recited_mask: [B, T] the same statements in another order.
        ends: [B, T] bool, at the last word of a statement, which only the statement determines.
    """

    read: Tensor
    read_mask: Tensor
    recited: Tensor
    recited_mask: Tensor
    ends: Tensor


class Statements:
    """The material of the recitals.

    Args:
        statements: token ids of each, with its full stop.
    """

    def __init__(self, statements: Sequence[Sequence[int]]) -> None:
        self.every = [tuple(statement) for statement in statements]
        counts = Counter(token for statement in self.every for token in set(statement))
        self.common = {token for token, n in counts.items() if n > COMMON * len(self.every)}

    @classmethod
    def of(
        cls, questions: Sequence[str], tokenizer: PreTrainedTokenizerBase, starts_with: str = ""
    ) -> Statements:
        """The sentences of questions that state something, which end with a full stop.

        Raises:
            UserError: there are none.
        """
        recited = [part.strip() for question in questions for part in re.findall(r"[^.?!]+\.", question)]
        chosen = [statement for statement in recited if re.match(starts_with, statement)]
        if not chosen:
            raise UserError(f"distill.recall: no question has a statement that starts with {starts_with!r}")
        return cls(tokenizer(chosen, add_special_tokens=False).input_ids)

    def apart(self, n: int, rng: random.Random) -> list[tuple[int, ...]]:
        """Draw `n` statements of which no two share a word, common ones aside.

        Raises:
            UserError: there are too few.
        """
        found: list[tuple[int, ...]] = []
        used: set[int] = set()
        for _ in range(100 * n):
            statement = rng.choice(self.every)
            words = set(statement) - self.common
            if words and not words & used:
                found.append(statement)
                used |= words
            if len(found) == n:
                return found
        raise UserError(f"distill.recall.statements is {n}, and {len(found)} share no word; set it lower")

    def recital(self, rng: random.Random, size: int, n: int, left_out: float, bot: int, pad: int) -> Recital:
        """Draw a batch.

        Args:
            rng: source of chance.
            size: B.
            n: statements of each.
            left_out: probability that a recital leaves out each common word.
            bot: token before the recital.
            pad: padding token.
        """
        read, recited, ends = [], [], []
        for _ in range(size):
            silent = {token for token in self.common if rng.random() < left_out}
            shown = [[t for t in statement if t not in silent] for statement in self.apart(n, rng)]
            again = rng.sample(shown, n)
            read.append([token for statement in shown for token in statement] + [bot])
            recited.append([token for statement in again for token in statement])
            ends.append([i == self._end(statement) for statement in again for i in range(len(statement))])
        (read_ids, read_mask), (recited_ids, recited_mask) = (
            padded(read, pad, left=True),
            padded(recited, pad),
        )
        return Recital(read_ids, read_mask, recited_ids, recited_mask, padded(ends, 0)[0].bool())

    def _end(self, statement: Sequence[int]) -> int:
        return max(i for i, token in enumerate(statement) if token not in self.common)


def learn(
    model: LatentLM,
    statements: Statements,
    section: Recall,
    pad: int,
    seed: int,
) -> bool:
    """One attempt: train `model` in place until it recites whole statements, or patience ends.

    Args:
        model: with fresh weights.
        statements: what to recite.
        section: hyperparameters.
        pad: padding token id.
        seed: seed of the recitals.

    Returns:
        Whether the model has learned to recite.
    """
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=section.learning_rate, weight_decay=0.01)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / WARM_UP, total_iters=WARM_UP)
    left_out, right = 1.0, 0.0
    model.train()
    longest = PATIENCES * section.patience
    with progress("recall, at most", longest) as advance:
        for step in range(1, longest + 1):
            batch = statements.recital(
                rng, section.batch_size, section.statements, left_out, model.bot_id, pad
            )
            loss, hits = _loss(model, batch)
            check_loss(loss, step, "distill.recall.learning_rate", section.learning_rate)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            warm_up.step()
            advance(1)
            right = DECAY * right + (1 - DECAY) * hits
            if right > KNOWN:
                left_out = max(0.0, left_out - 1 / RETURN)
            if step % 250 == 0:
                log.info(f"recall {step}: {right:.3f} right, {left_out:.2f} of common words left out")
            if left_out == 0.0 and right > DONE:
                return True
            if step == section.patience and left_out == 1.0:
                return False
    return False


def _loss(model: LatentLM, batch: Recital) -> tuple[Tensor, float]:
    """Mean cross-entropy of the recital, and the share of statements whose last word is right."""
    read, context = model.start(batch.read, batch.read_mask)
    recited = model.extend(context, model.embed(batch.recited), batch.recited_mask)
    real = batch.recited_mask.bool()
    logits = token_logits(model, read.last[:, -1], recited, batch.recited_mask)
    hits = logits.argmax(-1) == batch.recited[real]
    return F.cross_entropy(logits, batch.recited[real]), float(hits[batch.ends[real]].float().mean())
