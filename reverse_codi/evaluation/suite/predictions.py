"""The texts of one method for the evaluation set: written once, scored by every section."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.verbalize.thoughts import Thoughts

Method = Callable[[Thoughts], list[str]]
"""Thoughts in, one text each: the verbalizer, or a control in its place."""


@dataclass(frozen=True)
class Predictions:
    """The texts of one method.

    Attributes:
        eval_set: the evaluation set.
        write: the method.
    """

    eval_set: EvalSet
    write: Method

    @functools.cached_property
    def heldout(self) -> list[str]:
        """A text for every held-out thought."""
        return self.write(self.eval_set.thoughts)

    @functools.cached_property
    def predicted(self) -> Tensor:
        """The thoughts [N, d] that those texts predict."""
        return self.eval_set.predicted(self.eval_set.thoughts, self.heldout)

    @functools.cached_property
    def wrong(self) -> list[str]:
        """A text for every thought of the wrong traces."""
        return self.write(self.eval_set.wrong_thoughts) if len(self.eval_set.wrong) else []

    def of_active(self) -> list[str]:
        """Texts of the held-out thoughts that encode a step."""
        return [self.heldout[row] for row in self.eval_set.active]


def by_trace(texts: Sequence[str], thoughts: Thoughts) -> list[list[str]]:
    """The texts of each trace's thoughts, in the order of the sites; traces in order."""
    grouped: dict[int, list[str]] = {}
    for text, problem in zip(texts, thoughts.problems, strict=True):
        grouped.setdefault(problem, []).append(text)
    return [grouped[problem] for problem in sorted(grouped)]
