"""Does a text state the step that its thought encodes, and nothing without support?

Gold steps are what was thought only where the answer is right. So `step_result.*`, `operands` and `operation`
use right traces, as the public figures for the logit lens do; `.all` counts every trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.evaluation.metrics import content
from reverse_codi.evaluation.metrics.content import Part
from reverse_codi.evaluation.suite.predictions import Predictions
from reverse_codi.reading.claims import claimed
from reverse_codi.utils import figures
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.figures import Figures

# Number of steps that have their own figure.
STEPS = 3


@dataclass(frozen=True)
class EncodedStep:
    """One step that one held-out thought encodes.

    Attributes:
        row: row of the evaluation set's thoughts.
        step: index of the step.
        last: whether it is the problem's last one, whose result is the answer.
        right: whether the trace's answer is right.
    """

    row: int
    step: int
    last: bool
    right: bool


def encoded_steps(eval_set: EvalSet) -> list[EncodedStep]:
    """Every step that a causally active held-out thought encodes."""
    thoughts = eval_set.thoughts
    return [
        EncodedStep(row, step, step == len(thoughts.claims[row]) - 1, eval_set.right[thoughts.problems[row]])
        for row in eval_set.active
        for step in eval_set.steps_encoded[row]
    ]


def steps(predictions: Predictions) -> Figures:
    """F1 of results, operands and operations against the claims that the thought encodes.

    A claim without an operation ("Tom is a wumpus") does not count in the figures of operations, and one
    without operands ("= 17") in neither.
    """
    eval_set = predictions.eval_set
    claims = {row: eval_set.gold_claims[row] for row in eval_set.active}
    scores = {row: content.f1(predictions.heldout[row], claims[row]) for row in eval_set.active}
    gold = {row: content.gold_stated(claims[row]) for row in eval_set.active}
    counted = {
        Part.OPERATORS: {row for row, of in gold.items() if of.operators},
        Part.OPERANDS: {row for row, of in gold.items() if of.operands},
    }
    encoded = encoded_steps(eval_set)

    def figure(part: Part, chosen: list[EncodedStep]) -> Interval:
        if part in counted:
            chosen = [h for h in chosen if h.row in counted[part]]
        problems = [eval_set.thoughts.problems[h.row] for h in chosen]
        return figures.share([scores[h.row][part] for h in chosen], problems)

    right = [h for h in encoded if h.right]
    middle = [h for h in right if not h.last]
    found = {
        f"step_result.{k + 1}": figure(Part.RESULTS, [h for h in middle if h.step == k]) for k in range(STEPS)
    }
    for k in range(STEPS):
        every = [h for h in encoded if h.step == k and not h.last]
        found[f"step_result.{k + 1}.all"] = figure(Part.RESULTS, every)
    for name, part in (
        ("operands", Part.OPERANDS),
        ("operation", Part.OPERATORS),
        ("claims.f1", Part.CLAIMS),
    ):
        found[name] = figure(part, middle)
        found[f"{name}.all"] = figure(part, encoded)
    last = [h for h in right if h.last]
    for name, part in (("result", Part.RESULTS), ("operands", Part.OPERANDS), ("operation", Part.OPERATORS)):
        found[f"last.{name}"] = figure(part, last)
    found |= above_lens(eval_set, {row: score[Part.RESULTS] for row, score in scores.items()}, middle)
    return found


def exact(predictions: Predictions) -> Figures:
    """`claim.right`, `chain.right` and, by number of steps, `chain.right.N`; right traces.

    A text is right if it states exactly the claims that its thought encodes. A chain is right if the texts of
    all its causally active thoughts are. The texts of inactive thoughts are left to `inactive.detected`.
    """
    eval_set, thoughts = predictions.eval_set, predictions.eval_set.thoughts
    rows = [row for row in eval_set.active if eval_set.right[thoughts.problems[row]]]
    scores = [content.f1(predictions.heldout[row], eval_set.gold_claims[row]) for row in rows]
    hits = [float(score[Part.CLAIMS] == 1) for score in scores]
    found = {"claim.right": figures.share(hits, [thoughts.problems[row] for row in rows])}
    chains: dict[int, float] = {}
    length: dict[int, int] = {}
    for row, hit in zip(rows, hits, strict=True):
        problem = thoughts.problems[row]
        chains[problem] = min(hit, chains.get(problem, 1.0))
        length[problem] = len(thoughts.claims[row])
    found["chain.right"] = figures.share(list(chains.values()), list(chains))
    for n in sorted({*length.values()}):
        of_length = [problem for problem in chains if length[problem] == n]
        found[f"chain.right.{n}"] = figures.share([chains[problem] for problem in of_length], of_length)
    return found


def above_lens(eval_set: EvalSet, results: dict[int, float], middle: list[EncodedStep]) -> Figures:
    """`step_result.K.above_lens_top1` and `.above_lens_top5`: paired differences on the same thoughts."""
    found = {}
    hits = lens_hits(eval_set, middle)
    for k in range(STEPS):
        rows = [i for i, h in enumerate(middle) if h.step == k]
        problems = [eval_set.thoughts.problems[middle[i].row] for i in rows]
        for name, hit in hits.items():
            lens, text = [hit[i] for i in rows], [results[middle[i].row] for i in rows]
            found[f"step_result.{k + 1}.above_{name}"] = figures.change(lens, text, problems)
    return found


def lens_hits(eval_set: EvalSet, encoded: list[EncodedStep]) -> dict[str, list[float]]:
    """Whether the gold result, or the first of its tokens, is among the lens's first 1 and first 5 tokens."""
    thoughts = eval_set.thoughts.take([h.row for h in encoded])
    tokens = eval_set.context.lens(thoughts.targets)
    results = [content.gold_stated([thoughts.claims[i][h.step]]).results for i, h in enumerate(encoded)]
    return {
        f"lens_top{k}": [
            float(bool(gold) and eval_set.context.lens_names.hit(top, gold[0], k))
            for top, gold in zip(tokens, results, strict=True)
        ]
        for k in (1, 5)
    }


def claims(predictions: Predictions) -> Figures:
    """Claims that nothing in the trace supports, and whether the method knows which thoughts encode one."""
    eval_set = predictions.eval_set
    problems = eval_set.thoughts.problems
    counts = [
        content.unsupported(text, eval_set.supports[problem])
        for text, problem in zip(predictions.heldout, problems, strict=True)
    ]
    active = set(eval_set.active)
    right = [
        _speaks(text) if row in active else _is_silent(text) for row, text in enumerate(predictions.heldout)
    ]
    correct = torch.tensor(right).float()
    # Causally active and inactive thoughts have equal weight: always speaking and always silence get .5.
    n = {True: len(active), False: len(right) - len(active)}
    weight = torch.tensor([0.5 / n[row in active] for row in range(len(right))])
    if not all(n.values()):  # nothing to distinguish
        weight = torch.zeros(len(right))
    return {
        "claims.unsupported": figures.share([c[0] for c in counts], problems, [c[1] for c in counts]),
        "inactive.detected": figures.share(correct * weight, problems, weight),
    }


def _speaks(text: str) -> bool:
    """Whether a text states something: a claim, or at least numbers."""
    return bool(content.stated(text).results)


def _is_silent(text: str) -> bool:
    """Whether a text is "(no step)" or empty; garbled words do not count."""
    return not text.strip() or claimed(text) == ()
