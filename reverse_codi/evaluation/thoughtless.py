"""What a reasoner still answers when its thoughts are taken away or exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from reverse_codi.reasoners.base import Patch, Reasoner
from reverse_codi.reasoners.question_checks import faults
from reverse_codi.tasks.answers import Answering, answer_of
from reverse_codi.tasks.base import Problem, Split, Task

# Training problems that mean thoughts are taken from.
MEAN_TRACES = 2_000


def right(reasoner: Answering, task: Task, outputs: Sequence[str], problems: Sequence[Problem]) -> list[bool]:
    """Whether each output of the reasoner states its problem's answer."""
    return [answer_of(reasoner, task, o) == p.answer for o, p in zip(outputs, problems, strict=True)]


def mean_thoughts(reasoner: Reasoner, task: Task, seed: int, n: int = MEAN_TRACES) -> Tensor:
    """The mean [K, d] of each latent input over training problems that the reasoner can be asked."""
    questions = [p.question for p in task.problems(Split.TRAIN, n, seed)]
    found = faults(reasoner, questions)
    asked = [question for question, fault in zip(questions, found, strict=True) if fault is None]
    return reasoner.think(asked).latent_inputs.mean(0)


def without_thoughts(
    reasoner: Reasoner, task: Task, problems: Sequence[Problem], latent_inputs: Tensor, mean: Tensor
) -> dict[str, list[bool]]:
    """For each way to take the thoughts away, whether each problem is still answered rightly.

    Args:
        reasoner: the frozen model.
        task: reads its answers.
        problems: N problems.
        latent_inputs: their own thoughts [N, K, d].
        mean: [K, d] training means.

    Returns:
        `zero`, `mean`, `resampled` (another problem's thoughts; donors answer otherwise, or the damage would
        not show) and `removed` (no thought at all).
    """
    questions = [p.question for p in problems]
    donors = [
        next((j for j in _others(i, len(problems)) if problems[j].answer != problems[i].answer), i)
        for i in range(len(problems))
    ]
    vectors = {
        "zero": torch.zeros_like(latent_inputs),
        "mean": mean.expand_as(latent_inputs),
        "resampled": latent_inputs[donors],
    }
    outputs = {name: reasoner.think(questions, Patch.all(v)).outputs for name, v in vectors.items()}
    outputs["removed"] = reasoner.think(questions, n_thoughts=0).outputs
    return {name: right(reasoner, task, written, problems) for name, written in outputs.items()}


def _others(i: int, n: int) -> Iterator[int]:
    """Row numbers after i, round and round."""
    return ((i + step) % n for step in range(1, n))
