"""Edit one translation and check whether the answer follows the edit.

Shapes: M edits, N problems, K thoughts, d width.
"""

from __future__ import annotations

from dataclasses import dataclass

from reverse_codi.reading.interventions.replace import answers_with, kept, latent_inputs_of_each, only
from reverse_codi.reading.interventions.traced import Traced
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.base import Reasoner
from reverse_codi.tasks.base import Task
from reverse_codi.utils.bootstrap import Floats


@dataclass(frozen=True)
class Edits:
    """M edited texts.

    Attributes:
        rows: M row numbers of the problems.
        thoughts: M thought numbers k.
        texts: M edited texts.
        expected: M answers that follow from the edits. An edit that implies the model's own answer proves
            nothing.
    """

    rows: list[int]
    thoughts: list[int]
    texts: list[str]
    expected: list[str]

    def __post_init__(self) -> None:
        """Refuse lists of different lengths."""
        lengths = [len(column) for column in (self.rows, self.thoughts, self.texts, self.expected)]
        if len(set(lengths)) > 1:
            raise ValueError(f"rows, thoughts, texts and expected have {lengths} entries; give one an edit")


@dataclass(frozen=True)
class Followed:
    """The answers after the edits.

    Attributes:
        became: [M] 1 where the answer became the expected one.
        answers: the M answers.
    """

    became: Floats
    answers: list[str | None]


def follow(reasoner: Reasoner, metric: ThoughtMetric, task: Task, traced: Traced, edits: Edits) -> Followed:
    """Replace each thought by its edited text, recompute the later thoughts, and compare the answers."""
    single = traced.take(edits.rows)
    vectors = latent_inputs_of_each(reasoner, metric, edits.texts, edits.thoughts, single.questions)  # [M, d]
    latent_inputs = vectors[:, None].expand(-1, reasoner.n_thoughts, -1)  # only thought k of it is used
    answers = answers_with(reasoner, task, single, latent_inputs, only(edits.thoughts, reasoner.n_thoughts))
    return Followed(kept(answers, edits.expected), answers)
