"""Sampled texts of a run by step, with their rewards: a sample that a page can hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reverse_codi.rewards.batch import FIGURES
from reverse_codi.storage.json_lines import json_lines

STEPS, THOUGHTS, TEXTS = 8, 2, 6
"""Steps that are shown, spread over the run; thoughts of each; texts of each thought."""


@dataclass(frozen=True)
class Completion:
    """One text of a thought.

    Attributes:
        text: as it was sampled.
        count: how often, among the thought's texts of this step.
        match: with the thought.
        total: what its rewards add up to.
        rewards: name -> what the function gave; None where it did not apply.
    """

    text: str
    count: int
    match: float | None
    total: float | None
    rewards: Mapping[str, float | None]


@dataclass(frozen=True)
class ThoughtTexts:
    """Texts of one thought in one step.

    Attributes:
        step: of the run.
        site: which thought.
        question: of its trace.
        texts: highest total first.
        left_out: further distinct texts.
    """

    step: int
    site: str
    question: str
    texts: Sequence[Completion]
    left_out: int


@dataclass(frozen=True)
class CompletionSample:
    """What is shown of a file of completions.

    Attributes:
        thoughts: in the order of steps.
        shown: texts that they stand for.
        total: texts that the file has.
    """

    thoughts: Sequence[ThoughtTexts]
    shown: int
    total: int


def completion_sample(file: Path) -> CompletionSample | None:
    """The texts of the first thoughts of some steps; None without the file.

    The file may be larger than memory: it is read twice, line by line.
    """
    if not file.is_file():
        return None
    by_step = Counter(record["step"] for record in json_lines(file))
    steps = set(spread(sorted(by_step), STEPS))
    groups: dict[tuple[int, str, str], list[dict[str, Any]]] = {}
    thoughts: Counter[int] = Counter()
    for record in json_lines(file):
        key = record["step"], record["site"], record["question"]
        if record["step"] in steps and key not in groups and thoughts[record["step"]] < THOUGHTS:
            thoughts[record["step"]] += 1
            groups[key] = []
        if key in groups:
            groups[key].append(record)
    found = [_thought(*key, rows) for key, rows in groups.items()]
    shown = sum(text.count for each in found for text in each.texts)
    return CompletionSample(found, shown, by_step.total())


def spread(values: Sequence[int], n: int) -> list[int]:
    """`n` of some values, the first and the last among them, as evenly as can be.

    >>> spread(range(100), 4), spread([3, 5], 4)
    ([0, 33, 66, 99], [3, 5])
    """
    if len(values) <= n:
        return list(values)
    return [values[round(i * (len(values) - 1) / (n - 1))] for i in range(n)]


def _thought(step: int, site: str, question: str, rows: Sequence[Mapping[str, Any]]) -> ThoughtTexts:
    counts = Counter(row["text"] for row in rows)
    distinct = {row["text"]: row for row in rows}
    texts = [
        Completion(
            text,
            counts[text],
            row["match"],
            row["total"],
            {key.removeprefix(FIGURES): value for key, value in row.items() if key.startswith(FIGURES)},
        )
        for text, row in distinct.items()
    ]
    ranked = sorted(texts, key=lambda each: -(each.total if each.total is not None else float("-inf")))
    best = ranked[: TEXTS // 2] + ranked[len(ranked) - TEXTS // 2 :] if len(ranked) > TEXTS else ranked
    return ThoughtTexts(step, site, question, best, len(ranked) - len(best))
