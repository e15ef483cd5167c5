"""Does a text state the step that its thought holds, and nothing that nobody said?

Gold steps are what was thought only where the answer is right, so `step_result.*`, `operands` and `operation`
are on right traces, as the public figures for the logit lens are; `.all` counts every trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from reverse_codi.evaluation.exam import Exam
from reverse_codi.evaluation.metrics import content
from reverse_codi.evaluation.metrics.content import Part
from reverse_codi.evaluation.suite.said import Said
from reverse_codi.reading.claims import claimed
from reverse_codi.utils import figures
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.figures import Figures

# Steps that get a figure of their own.
STEPS = 3


@dataclass(frozen=True)
class Held:
    """One step that one held-out thought holds.

    Attributes:
        row: of the exam's thoughts.
        step: index of the step.
        last: whether it is the problem's last one, whose result is the answer.
        right: whether the trace's answer is right.
    """

    row: int
    step: int
    last: bool
    right: bool


def held_steps(exam: Exam) -> list[Held]:
    """Every step that a live held-out thought holds."""
    thoughts = exam.thoughts
    return [
        Held(row, step, step == len(thoughts.claims[row]) - 1, exam.right[thoughts.problems[row]])
        for row in exam.live
        for step in exam.steps_held[row]
    ]


def steps(said: Said) -> Figures:
    """F1 of results, operands and operations against the claims that the thought holds.

    A claim without an operation ("Tom is a wumpus") has no part in the figures of operations.
    """
    exam = said.exam
    claims = {row: [exam.thoughts.claims[row][s] for s in exam.steps_held[row]] for row in exam.live}
    scores = {row: content.f1(said.heldout[row], claims[row]) for row in exam.live}
    with_operation = {row for row in exam.live if content.gold_stated(claims[row]).operators}
    held = held_steps(exam)

    def figure(part: Part, chosen: list[Held]) -> Interval:
        if part is Part.OPERATORS:
            chosen = [h for h in chosen if h.row in with_operation]
        problems = [exam.thoughts.problems[h.row] for h in chosen]
        return figures.share([scores[h.row][part] for h in chosen], problems)

    right = [h for h in held if h.right]
    middle = [h for h in right if not h.last]
    found = {
        f"step_result.{k + 1}": figure(Part.RESULTS, [h for h in middle if h.step == k]) for k in range(STEPS)
    }
    for k in range(STEPS):
        every = [h for h in held if h.step == k and not h.last]
        found[f"step_result.{k + 1}.all"] = figure(Part.RESULTS, every)
    for name, part in (
        ("operands", Part.OPERANDS),
        ("operation", Part.OPERATORS),
        ("claims.f1", Part.CLAIMS),
    ):
        found[name] = figure(part, middle)
        found[f"{name}.all"] = figure(part, held)
    last = [h for h in right if h.last]
    for name, part in (("result", Part.RESULTS), ("operands", Part.OPERANDS), ("operation", Part.OPERATORS)):
        found[f"last.{name}"] = figure(part, last)
    found |= above_lens(exam, {row: score[Part.RESULTS] for row, score in scores.items()}, middle)
    return found


def above_lens(exam: Exam, results: dict[int, float], middle: list[Held]) -> Figures:
    """`step_result.K.above_lens_top1` and `.above_lens_top5`: paired differences on the same thoughts."""
    found = {}
    hits = lens_hits(exam, middle)
    for k in range(STEPS):
        rows = [i for i, h in enumerate(middle) if h.step == k]
        problems = [exam.thoughts.problems[middle[i].row] for i in rows]
        for name, hit in hits.items():
            lens, text = [hit[i] for i in rows], [results[middle[i].row] for i in rows]
            found[f"step_result.{k + 1}.above_{name}"] = figures.change(lens, text, problems)
    return found


def lens_hits(exam: Exam, held: list[Held]) -> dict[str, list[float]]:
    """Whether the gold result is among the lens's first 1 and first 5 tokens at the thought's readout."""
    thoughts = exam.thoughts.take([h.row for h in held])
    tokens = exam.subject.lens(thoughts.targets)
    results = [content.gold_stated([thoughts.claims[i][h.step]]).results for i, h in enumerate(held)]
    return {
        f"lens_top{k}": [
            float(bool(gold) and content.lens_hit(top, gold[0], k))
            for top, gold in zip(tokens, results, strict=True)
        ]
        for k in (1, 5)
    }


def claims(said: Said) -> Figures:
    """Claims that nothing in the trace supports, and whether the writer knows which thoughts hold a step."""
    exam = said.exam
    problems = exam.thoughts.problems
    counts = [
        content.unsupported(text, exam.supports[problem])
        for text, problem in zip(said.heldout, problems, strict=True)
    ]
    live = set(exam.live)
    right = [_speaks(text) if row in live else _is_silent(text) for row, text in enumerate(said.heldout)]
    told = torch.tensor(right).float()
    # Live and inert thoughts weigh alike, so that always speaking, and always silence, get one half.
    n = {True: len(live), False: len(right) - len(live)}
    weight = torch.tensor([0.5 / n[row in live] for row in range(len(right))])
    if not all(n.values()):  # nothing to tell apart
        weight = torch.zeros(len(right))
    return {
        "claims.unsupported": figures.share([c[0] for c in counts], problems, [c[1] for c in counts]),
        "inert.told_from_live": figures.share(told * weight, problems, weight),
    }


def _speaks(text: str) -> bool:
    """Whether a text states something: a claim, or numbers at least."""
    return bool(content.stated(text).results)


def _is_silent(text: str) -> bool:
    """Whether a text says that there is nothing: "(no step)", or no text. Garbled words do not."""
    return not text.strip() or claimed(text) == ()
