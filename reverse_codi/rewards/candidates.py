"""Candidate texts with the thoughts they stand for, and how they are shared out.

Shapes: N texts, d width, M distractors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from reverse_codi.reading.reader import before_last_number
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import Point, Prefix, ReadSpec


@dataclass(frozen=True)
class StepTexts:
    """Every text of one step, for rewards that compare texts with each other.

    Attributes:
        texts: all of them, failed ones included, in the order in which they were asked for.
        thoughts: a number for each text; texts of one thought share it.
        targets: [T, d] the distinct thoughts themselves, in the order of their numbers.
        sites: of the T thoughts.
    """

    texts: list[str] = field(default_factory=list)
    thoughts: list[int] = field(default_factory=list)
    targets: Tensor = field(default_factory=lambda: torch.empty(0, 0), compare=False)
    sites: list[Site] = field(default_factory=list, compare=False)

    @classmethod
    def of(cls, texts: list[str], thoughts: list[int], targets: Tensor, sites: list[Site]) -> StepTexts:
        """The texts of a step from columns with a row a text."""
        row_of = {thought: row for row, thought in enumerate(thoughts)}
        rows = [row_of[number] for number in sorted(row_of)]
        return cls(texts, thoughts, targets[rows], [sites[row] for row in rows])

    def places(self) -> dict[int, int]:
        """A thought's number -> its row in `targets` and `sites`."""
        return {number: place for place, number in enumerate(sorted(set(self.thoughts)))}


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Candidate texts with the thoughts they stand for, before anything is read.

    Attributes:
        texts: what the verbalizer wrote, decoded.
        token_ids: the verbalizer's own tokens of each text.
        questions: the question that each thought belongs to.
        sites: the site of each thought.
        targets: [N, d] the true thoughts.
        distractors: [N, M, d] other thoughts of the same site.
        finished: False where the text was truncated.
        claims: gold claims of each trace, if the task has any.
        policy_version: adapter version that wrote the texts.
        thoughts: a number for each row, the same as in `step`; if not given, rows of one question and site
            are of one thought.
        step: the step that these rows are a part of; if not given, they are all of it.
    """

    texts: list[str]
    token_ids: list[list[int]]
    questions: list[str]
    sites: list[Site]
    targets: Tensor
    distractors: Tensor
    finished: list[bool]
    claims: list[list[str]] | None = None
    policy_version: int = 0
    thoughts: list[int] = field(default_factory=list)
    step: StepTexts = field(default_factory=StepTexts)

    def __post_init__(self) -> None:
        """Number the thoughts, refuse columns of different lengths."""
        if not self.thoughts:
            numbers: dict[tuple[str, Site], int] = {}
            keys = zip(self.questions, self.sites, strict=False)
            object.__setattr__(self, "thoughts", [numbers.setdefault(key, len(numbers)) for key in keys])
        for name in self.__dataclass_fields__:
            column = getattr(self, name)
            if isinstance(column, list | Tensor) and len(column) != len(self.texts):
                rows = f"{len(column)} rows where texts has {len(self.texts)}"
                raise ValueError(f"{name} has {rows}; make them equal")
        if not self.step.texts:
            step = StepTexts.of(self.texts, self.thoughts, self.targets, self.sites)
            object.__setattr__(self, "step", step)

    def __len__(self) -> int:
        """N."""
        return len(self.texts)

    @property
    def well_formed(self) -> list[int]:
        """Rows whose text is finished and says something."""
        return [i for i, text in enumerate(self.texts) if self.finished[i] and text.strip()]

    @property
    def failed(self) -> list[int]:
        """Rows whose text was cut off, or is empty; no reward function sees them."""
        good = set(self.well_formed)
        return [i for i in range(len(self)) if i not in good]

    def take(self, rows: Sequence[int]) -> Self:
        """The given rows, in the given order."""

        def taken(column: Any) -> Any:
            if isinstance(column, Tensor):
                return column[list(rows)]
            if isinstance(column, dict):
                return {key: taken(value) for key, value in column.items()}
            return [column[i] for i in rows] if isinstance(column, list) else column

        return replace(self, **{name: taken(getattr(self, name)) for name in self.__dataclass_fields__})


def balanced(rows: Candidates, n: int, spec: ReadSpec) -> list[list[int]]:
    """Row numbers of at most `n` shares: rows that read the same stay together, lengths are evened."""
    groups: dict[tuple[str, str], list[int]] = {}
    for row, (text, question) in enumerate(zip(rows.texts, rows.questions, strict=True)):
        read = before_last_number(text.strip()) if spec.point is Point.BEFORE_RESULT else text.strip()
        groups.setdefault((read, question if spec.prefix is Prefix.QUESTION else ""), []).append(row)
    shares: list[list[int]] = [[] for _ in range(n)]
    loads = [0] * n
    for key in sorted(groups, key=lambda key: -sum(map(len, key))):  # longest first, to the least loaded
        least = loads.index(min(loads))
        shares[least] += groups[key]
        loads[least] += sum(map(len, key))
    return [sorted(share) for share in shares if share] or [[]]
