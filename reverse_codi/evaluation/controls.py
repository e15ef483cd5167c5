"""What a translation must beat: methods that know the question, the answer, the lens, or nothing.

Every control that needs no training of a verbalizer; `trained_controls` has the others.

Shapes: N thoughts, d width.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reverse_codi.evaluation.eval_set import EvalContext
from reverse_codi.evaluation.suite.predictions import Method
from reverse_codi.reading.claims import NO_STEP
from reverse_codi.reading.hard_negatives import CONSTANT
from reverse_codi.reading.probes import Probe, part_labels
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.claims import of_slots, parse_belongings
from reverse_codi.tasks.numbers import whole_number
from reverse_codi.verbalize.lens_search import ambiguity, lens_search
from reverse_codi.verbalize.thoughts import Thoughts

log = logging.getLogger(__name__)


def empty(thoughts: Thoughts) -> list[str]:
    """Nothing."""
    return [""] * len(thoughts)


def constant(thoughts: Thoughts) -> list[str]:
    """One claim, whatever the thought: a sum, or where thoughts hold sentences the commonest of them."""
    predictions = Counter(text for text in thoughts.gold if parse_belongings(text))
    return [predictions.most_common(1)[0][0] if predictions else CONSTANT] * len(thoughts)


def question_restated(thoughts: Thoughts) -> list[str]:
    """The question."""
    return list(thoughts.questions)


def final_answer(thoughts: Thoughts) -> list[str]:
    """The model's answer, whatever the thought."""
    return [f"The answer is: {answer}" if answer else "" for answer in thoughts.answers]


def gold_claims(thoughts: Thoughts) -> list[str]:
    """The gold text: what a right translation would score."""
    return list(thoughts.gold)


def logit_lens(context: EvalContext, thoughts: Thoughts) -> list[str]:
    """The likeliest token of each hidden state, where it is a number; a class alone claims nothing."""
    tops = context.lens(thoughts.targets)
    return [f"{top[0]}." if whole_number(top[0]) is not None else NO_STEP for top in tops]


def searched_lens(context: EvalContext, thoughts: Thoughts) -> list[str]:
    """The result from the lens, its operands from the question; see `verbalize.lens_search`."""
    found = lens_search(context.reasoner, thoughts)
    spoken, ambiguous = ambiguity(found)
    log.info(
        f"lens_search: {spoken:,} of {len(found):,} thoughts have a step; more than one fits "
        f"{ambiguous / max(spoken, 1):.3f} of them"
    )
    return [each.text for each in found]


def shuffled_thoughts(write: Method, thoughts: Thoughts, seed: int = 0) -> list[str]:
    """The verbalizer's text for another problem's thought of the same site."""
    rng = random.Random(seed)
    partner = list(range(len(thoughts)))
    for site in set(thoughts.sites):
        rows = [row for row, s in enumerate(thoughts.sites) if s == site]
        moved = _deranged(rows, [thoughts.problems[row] for row in rows], rng)
        for row, other in zip(rows, moved, strict=True):
            partner[row] = other
    texts = write(thoughts)
    return [texts[other] for other in partner]


def _deranged(rows: Sequence[int], problems: Sequence[int], rng: random.Random) -> list[int]:
    """Each row's partner: a row of another problem, as far as there are others."""
    place_of = {problem: rng.random() for problem in sorted(set(problems))}
    order = sorted(range(len(rows)), key=lambda i: place_of[problems[i]])
    most = max(problems.count(problem) for problem in place_of)
    partner = [0] * len(rows)
    for place, i in enumerate(order):
        partner[i] = rows[order[(place + most) % len(order)]]
    return partner


def question_solved(context: EvalContext, thoughts: Thoughts) -> list[str]:
    """The step of that site as CoT mode writes it, without reading a thought."""
    questions = list(dict.fromkeys(thoughts.questions))
    solved = dict(zip(questions, context.written(questions), strict=True))
    pairs = zip(thoughts.questions, thoughts.sites, strict=True)
    return [context.encoded.text(site, solved[question]) for question, site in pairs]


@dataclass(frozen=True)
class LinearProbes:
    """Claims put together from a linear probe for each slot of a site: both operands, operation and result.

    Labels are gold. One more probe distinguishes thoughts that hold nothing.
    """

    probes: dict[Site, list[Probe]]
    active: dict[Site, Probe]

    @staticmethod
    def fit(context: EvalContext) -> LinearProbes:
        """Fit on the training traces."""
        thoughts = context.thoughts(context.train)
        probes, active = {}, {}
        for site in context.sites:
            rows = [row for row, s in enumerate(thoughts.sites) if s == site]
            holds = [thoughts.gold[row] != NO_STEP for row in rows]
            active[site] = Probe.fit(thoughts.targets[rows], [str(h) for h in holds])
            encoded = [row for row, h in zip(rows, holds, strict=True) if h]
            parts = part_labels(thoughts.gold[row].rstrip(".") for row in encoded)
            probes[site] = [Probe.fit(thoughts.targets[encoded], column) for column in parts]
        return LinearProbes(probes, active)

    def __call__(self, thoughts: Thoughts) -> list[str]:
        """One claim for every thought that seems to hold one."""
        texts = [NO_STEP] * len(thoughts)
        for site in set(thoughts.sites):
            rows = [row for row, s in enumerate(thoughts.sites) if s == site]
            x = thoughts.targets[rows]
            predictions = zip(*(probe.predict(x) for probe in self.probes[site]), strict=True)
            for row, holds, slots in zip(rows, self.active[site].predict(x), predictions, strict=True):
                if holds == str(True):
                    texts[row] = f"{of_slots(slots)}."
        return texts


@dataclass(frozen=True)
class NearestText:
    """The gold text of all training texts of the site that reads nearest to the thought: no model writes.

    Attributes:
        context: reads.
        pool: site -> its distinct training texts.
        predicted: site -> what they stand for, [M, d].
    """

    context: EvalContext
    pool: dict[Site, list[str]]
    predicted: dict[Site, Tensor]

    @staticmethod
    def fit(context: EvalContext) -> NearestText:
        """Read the pool once."""
        thoughts = context.thoughts(context.train)
        pool: dict[Site, list[str]] = {}
        for site, text in zip(thoughts.sites, thoughts.gold, strict=True):
            pool.setdefault(site, []).append(text)
        pool = {site: list(dict.fromkeys(texts)) for site, texts in pool.items()}
        metric = context.metric
        predicted = {site: metric.predict(texts, [site] * len(texts)) for site, texts in pool.items()}
        return NearestText(context, pool, predicted)

    def __call__(self, thoughts: Thoughts) -> list[str]:
        """The nearest text of each thought."""
        texts = [""] * len(thoughts)
        for site in set(thoughts.sites):
            rows = [row for row, s in enumerate(thoughts.sites) if s == site]
            whiten = self.context.metric.map_of(site).whitener.T
            distance = torch.cdist(thoughts.targets[rows] @ whiten, self.predicted[site] @ whiten)
            for row, best in zip(rows, distance.argmin(1).tolist(), strict=True):
                texts[row] = self.pool[site][best]
        return texts
