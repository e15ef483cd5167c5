"""Coconut's staged curriculum (arXiv 2412.06769): step after step of the written solution becomes thoughts.

Stage s shows a question, bot, s * c thoughts and eot, and trains the steps from the s-th on and the answer.
After the last stage no step is left to write, however many there were. Each stage starts with a new
optimizer. A thought is the last hidden state itself, and gradients flow through all thoughts.

Two additions are those of CODI here (`distill.loss`), on rows that have no step left to write: in a share of
them the answer cannot see the question, and in a share it sees only the first thoughts. With 0 for both this
is published Coconut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reverse_codi.reasoners.distill.data import EncodedProblem, drawn_thoughts, padded
from reverse_codi.reasoners.distill.loss import narrow, token_loss
from reverse_codi.reasoners.distill.phases import DistillTrainer
from reverse_codi.reasoners.latent_lm import ForwardStep, LatentLM


@dataclass(frozen=True)
class Stage:
    """One stage of the curriculum.

    Attributes:
        name: of its folder.
        n_thoughts: that stand for the steps left out.
        n_skipped: steps left out; None for all.
        thoughts_per_step: c, thoughts that stand for one step.
    """

    name: str
    n_thoughts: int
    n_skipped: int | None
    thoughts_per_step: int


def curriculum(n_thoughts: int, thoughts_per_step: int) -> list[Stage]:
    """The stages that lead to `n_thoughts`, the first step's first.

    Raises:
        ValueError: the thoughts do not divide into steps.
    """
    if n_thoughts == 0 or n_thoughts % thoughts_per_step:
        raise ValueError(
            f"distill.n_thoughts = {n_thoughts} is no multiple of distill.thoughts_per_step = "
            f"{thoughts_per_step}; Coconut gives each step as many thoughts"
        )
    steps = n_thoughts // thoughts_per_step
    stages = [Stage(f"stage-{s}", s * thoughts_per_step, s, thoughts_per_step) for s in range(1, steps + 1)]
    return [*stages, Stage("answer", n_thoughts, None, thoughts_per_step)]


def stage_steps(n_stages: int, total: int, each: int) -> list[int]:
    """Optimizer steps of every stage; the paper, too, trains longest on the last one.

    Args:
        n_stages: number of stages.
        total: steps of all together.
        each: steps of every stage but the last; 0 shares the total evenly.

    >>> stage_steps(3, 900, 0), stage_steps(3, 900, 200)
    ([300, 300, 300], [200, 200, 500])

    Raises:
        ValueError: no step is left for the last stage.
    """
    if each == 0:
        return [max(1, total // n_stages)] * n_stages
    rest = total - each * (n_stages - 1)
    if rest < 1:
        raise ValueError(
            f"distill.stage_steps = {each} for {n_stages - 1} stages leaves the last one no step of "
            f"distill.latent.steps = {total}; lower it, or raise that"
        )
    return [each] * (n_stages - 1) + [rest]


class CoconutCollator:
    """Batches for `coconut_loss`, as a dict of tensors.

    Args:
        pad: padding token id.
        eot: end-of-thought token id.
        stage: of the curriculum.
        hide_question: of the rows without a step left to write, the share whose answer cannot see the
            question.
        truncate: of the same rows, the share whose answer sees only m thoughts; m is uniform from those of
            the row's steps to all of the stage.
    """

    def __init__(self, pad: int, eot: int, stage: Stage, hide_question: float, truncate: float) -> None:
        self.pad = pad
        self.eot = eot
        self.stage = stage
        self.hide_question = hide_question
        self.truncate = truncate

    def __call__(self, rows: Sequence[EncodedProblem]) -> dict[str, Tensor]:
        """Draw each row's visibility, and pad: questions on the left, what follows eot on the right."""
        chance, n = torch.rand(3, len(rows)), self.stage.n_thoughts
        # A step that is left to write needs the question, and all thoughts before it.
        thought_out = torch.tensor([not row.steps for row in rows])
        least = torch.tensor([min(row.n_steps * self.stage.thoughts_per_step, n) for row in rows])
        question, question_mask = padded([row.question for row in rows], self.pad, left=True)
        tail, tail_mask = padded([[self.eot, *row.steps, *row.answer] for row in rows], self.pad)
        return {
            "question": question,
            "question_mask": question_mask,
            "tail": tail,
            "tail_mask": tail_mask,
            "hidden": (chance[0] < self.hide_question) & thought_out,
            "n_fed": drawn_thoughts(chance[1:], least.where(thought_out, n), n, self.truncate),
        }


def coconut_loss(model: LatentLM, batch: dict[str, Tensor], n_thoughts: int) -> Tensor:
    """Mean cross-entropy of the tokens after eot, which follows `n_thoughts` thoughts."""
    _, context = model.start(batch["question"], batch["question_mask"])
    model.think(context, n_thoughts=n_thoughts)
    narrow(context, n_thoughts, batch["hidden"], batch["n_fed"])
    step = model.extend(context, model.embed(batch["tail"]), batch["tail_mask"])
    # eot is given, not predicted.
    after = ForwardStep(step.last[:, 1:], ())
    return token_loss(model, step.last[:, 0], after, batch["tail"][:, 1:], batch["tail_mask"][:, 1:])


class CoconutTrainer(DistillTrainer):
    """Hugging Face Trainer with Coconut's loss of one stage."""

    def __init__(self, stage: Stage, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = stage

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The loss of this stage."""
        assert isinstance(model, LatentLM)
        with self.compute_loss_context_manager(), torch.enable_grad():
            return coconut_loss(model, inputs, self.stage.n_thoughts)
