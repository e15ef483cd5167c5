"""What one writer says of the exam's thoughts, written once and scored by every section."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from reverse_codi.evaluation.exam import Exam
from reverse_codi.verbalize.thoughts import Thoughts

Writer = Callable[[Thoughts], list[str]]
"""Thoughts in, one text each: the verbalizer, or a control in its place."""


@dataclass(frozen=True)
class Said:
    """One writer's texts.

    Attributes:
        exam: what was asked.
        write: the writer.
    """

    exam: Exam
    write: Writer

    @functools.cached_property
    def heldout(self) -> list[str]:
        """A text for every held-out thought."""
        return self.write(self.exam.thoughts)

    @functools.cached_property
    def predicted(self) -> Tensor:
        """The thoughts [N, d] that those texts stand for."""
        return self.exam.predicted(self.exam.thoughts, self.heldout)

    @functools.cached_property
    def wrong(self) -> list[str]:
        """A text for every thought of the wrong traces."""
        return self.write(self.exam.wrong_thoughts) if len(self.exam.wrong) else []

    def of_live(self) -> list[str]:
        """Texts of the held-out thoughts that hold a step."""
        return [self.heldout[row] for row in self.exam.live]


def by_trace(texts: Sequence[str], thoughts: Thoughts) -> list[list[str]]:
    """The texts of each trace's thoughts, in the order of the sites; traces in order."""
    grouped: dict[int, list[str]] = {}
    for text, problem in zip(texts, thoughts.problems, strict=True):
        grouped.setdefault(problem, []).append(text)
    return [grouped[problem] for problem in sorted(grouped)]
