"""CODI's self-distillation loss, on a batch whose question is read once.

CODI (arXiv 2502.21074): L = CE(answer | question, thoughts) + a CE(steps, answer | question)
+ b SmoothL1 between the two paths' hidden states at the answer cue, over all layers, each divided
by the teacher's standard deviation. Teacher and student are the same weights.

Two additions decide whether the model thinks in its vectors, and what each one holds (docs/embedded.md):

* *hidden question*: in a share of rows the tokens after the thoughts cannot see the question, so the answer
must
  come through the thoughts. Otherwise the model solves the problem again when it answers.
* *truncated thoughts*: in a share of rows those tokens see only the first m thoughts, with m no smaller than
the
  number of steps, so the k-th thought must reach the k-th step.

Shapes: B rows, Q question tokens (left padded), T and S tail tokens (right padded), K thoughts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reverse_codi.reasoners.latent_lm import CachedContext, ForwardStep, LatentLM


@dataclass(frozen=True)
class Batch:
    """Token ids of one training batch; every mask is 1 at real tokens.

    Attributes:
        question, question_mask: [B, Q].
        written, written_mask: [B, T] steps, answer cue, answer, eos.
        written_cue: [B] index in `written` of the last token of the answer cue.
        thought, thought_mask: [B, S] eot, cue, answer, eos.
        thought_cue: [B] index in `thought` of the last token of the answer cue.
        n_fed: [B] how many of the K thoughts the tail sees.
        hidden: [B] bool, whether the tail cannot see the question.
    """

    question: Tensor
    question_mask: Tensor
    written: Tensor
    written_mask: Tensor
    written_cue: Tensor
    thought: Tensor
    thought_mask: Tensor
    thought_cue: Tensor
    n_fed: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class Terms:
    """The three terms of the loss, each a scalar tensor."""

    teacher: Tensor
    student: Tensor
    distill: Tensor


def token_logits(model: LatentLM, before: Tensor, step: ForwardStep, mask: Tensor) -> Tensor:
    """Logits [N, V] of the N real tokens that were read, the first predicted from `before` [B, d]."""
    states = torch.cat([before[:, None], step.last[:, :-1]], 1)  # [B, T, d]
    return model.logits(states[mask.bool()])


def token_loss(model: LatentLM, before: Tensor, step: ForwardStep, ids: Tensor, mask: Tensor) -> Tensor:
    """Mean cross-entropy of `ids` [B, T], the first predicted from `before` [B, d]."""
    return F.cross_entropy(token_logits(model, before, step, mask), ids[mask.bool()])


def _at(step: ForwardStep, index: Tensor) -> list[Tensor]:
    """Each layer's state [B, d] at position `index` [B]."""
    rows = torch.arange(len(index), device=index.device)
    return [layer[rows, index] for layer in step.layers]


def distill_distance(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """CODI's distance: SmoothL1 over the teacher's standard deviation, averaged over layers."""
    terms = [
        F.smooth_l1_loss(s / (t.std() + 1e-6), t / (t.std() + 1e-6))
        for s, t in zip(student, (t.detach() for t in teacher), strict=True)
    ]
    return torch.stack(terms).mean()


def narrow(context: CachedContext, n_thoughts: int, hidden: Tensor, n_fed: Tensor) -> None:
    """Take from what follows the thoughts the sight of question and last thoughts, row by row.

    Args:
        context: question, bot and thoughts [B, Q + 1 + K]; changed in place.
        n_thoughts: K, thoughts in the context.
        hidden: [B] bool, whether the question is hidden.
        n_fed: [B] how many of the thoughts are seen.
    """
    seen = context.mask.clone()
    n_question = seen.shape[1] - 1 - n_thoughts
    seen[:, :n_question] *= (~hidden)[:, None].long()
    thought = torch.arange(n_thoughts, device=seen.device)
    seen[:, n_question + 1 :] *= (thought[None] < n_fed[:, None]).long()
    context.mask = seen
    # The tail directly follows the last thought that it sees.
    context.position = context.position - (n_thoughts - n_fed)


def thought_tail(model: LatentLM, context: CachedContext, batch: Batch) -> ForwardStep:
    """Think, then read the tail with each row's visibility."""
    model.think(context)
    narrow(context, model.n_thoughts, batch.hidden, batch.n_fed)
    return model.extend(context, model.embed(batch.thought), batch.thought_mask, layers=True)


def codi_terms(model: LatentLM, batch: Batch, with_student: bool = True) -> Terms:
    """Compute the terms; without the student only the teacher's (first training on written steps)."""
    question, context = model.start(batch.question, batch.question_mask)
    last = question.last[:, -1]
    written = model.extend(
        context.fork() if with_student else context,
        model.embed(batch.written),
        batch.written_mask,
        layers=with_student,
    )
    teacher = token_loss(model, last, written, batch.written, batch.written_mask)
    if not with_student:
        zero = torch.zeros_like(teacher)
        return Terms(teacher, zero, zero)
    tail = thought_tail(model, context, batch)
    # eot is given, not predicted: the loss starts at the token after it.
    student = token_loss(
        model,
        tail.last[:, 0],
        ForwardStep(tail.last[:, 1:], ()),
        batch.thought[:, 1:],
        batch.thought_mask[:, 1:],
    )
    distill = distill_distance(_at(tail, batch.thought_cue), _at(written, batch.written_cue))
    return Terms(teacher, student, distill)
