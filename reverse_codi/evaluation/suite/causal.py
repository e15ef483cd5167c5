"""Does the model go on from a translation as from the thought itself?

The text is read, mapped to a readout, projected, and fed in place of the thought.
"""

from __future__ import annotations

import random

from reverse_codi.evaluation.counterfactual import edited_step
from reverse_codi.evaluation.exam import Exam
from reverse_codi.evaluation.suite.said import Said, by_trace
from reverse_codi.reading.interventions.follow import Edits, follow
from reverse_codi.reading.interventions.replace import (
    Moments,
    Replacement,
    Sources,
    kept_all,
    kept_each,
    replacement_vectors,
)
from reverse_codi.reading.interventions.traced import Traced
from reverse_codi.tasks.claims import result_of
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.utils import figures
from reverse_codi.utils.figures import Figures

# Replacements that do not depend on who wrote.
CONSTANT = (
    Replacement.ZERO,
    Replacement.MEAN,
    Replacement.NOISE,
    Replacement.OTHER,
    Replacement.EMPTY_TEXT,
    Replacement.GOLD_TEXT,
)


def _setting(exam: Exam, texts: list[str]) -> tuple[Traced, Sources]:
    """Held-out traces that can lose an answer, and what replaces their thoughts."""
    rows = exam.traced.usable
    traced = exam.traced.take(rows)
    gold = by_trace(exam.thoughts.gold, exam.thoughts)
    translations = by_trace(texts, exam.thoughts)
    sources = Sources(
        exam.subject.reasoner,
        exam.subject.measure,
        Moments.of(exam.subject.train.fed),
        traced.donors(exam.seed),
        [gold[row] for row in rows],
        [translations[row] for row in rows],
        exam.seed,
    )
    return traced, sources


def replaced(said: Said) -> Figures:
    """`causal.kept_all`, `.kept_each` of translations, and `causal.kept_all.other_text` of another's."""
    exam = said.exam
    reasoner, task = exam.subject.reasoner, exam.subject.task
    traced, sources = _setting(exam, said.heldout)
    fed = replacement_vectors(Replacement.TRANSLATION, traced, sources)
    other = replacement_vectors(Replacement.OTHER_TEXT, traced, sources)
    each = kept_each(reasoner, task, traced, fed)
    return {
        "causal.kept_all": figures.share(kept_all(reasoner, task, traced, fed), range(len(traced))),
        "causal.kept_each": figures.share(each.kept, each.rows),
        "causal.kept_all.other_text": figures.share(
            kept_all(reasoner, task, traced, other), range(len(traced))
        ),
    }


def constant_replacements(exam: Exam) -> Figures:
    """`causal.kept_all.KIND` for replacements that no writer has a part in."""
    traced, sources = _setting(exam, [""] * len(exam.thoughts))
    reasoner, task = exam.subject.reasoner, exam.subject.task
    return {
        f"causal.kept_all.{kind}": figures.share(
            kept_all(reasoner, task, traced, replacement_vectors(kind, traced, sources)), range(len(traced))
        )
        for kind in CONSTANT
    }


def counterfactual(said: Said) -> Figures:
    """`causal.counterfactual`: the answer becomes what the translation implies with a number changed.

    The translation's last operand is changed and its result with it; the text is read and fed in place of its
    thought alone. Edits stay among the steps that the model was trained on, where those are a closed world
    (`Exam.repertoire`). `.inconsistent` changes the result only. Thoughts of right traces; a translation in
    which no number can be changed, which the next step does not start from, or which ends the chain with
    another result than the answer, counts as a failure.
    """
    exam = said.exam
    rng = random.Random(exam.seed)
    thoughts = exam.thoughts
    asked: list[tuple[int, int]] = []  # (problem, thought) of every edit that gold allows
    made: dict[int, tuple[str, str, str]] = {}
    for row in exam.editable:
        claims, [step] = thoughts.claims[row], exam.steps_held[row]
        stated = [equation.claim for equation in parse_equations(said.heldout[row])]
        if len(stated) == 1:
            chain = [*claims[:step], stated[0], *claims[step + 1 :]]
            follows = result_of(chain[-1]) == thoughts.answers[row]
            edit = edited_step(chain, step, rng, exam.plausible) if follows else None
            if edit is not None:
                made[len(asked)] = edit.claim, edit.inconsistent, edit.answer
        asked.append((thoughts.problems[row], thoughts.sites[row].index))
    found = {}
    places = list(made)
    for name, which in (("causal.counterfactual", 0), ("causal.counterfactual.inconsistent", 1)):
        became = [0.0] * len(asked)
        if places:
            edits = Edits(
                [asked[place][0] for place in places],
                [asked[place][1] for place in places],
                [f"{made[place][which]}." for place in places],
                [made[place][2] for place in places],
            )
            subject = exam.subject
            followed = follow(subject.reasoner, subject.measure, subject.task, exam.traced, edits)
            for place, value in zip(places, followed.became.tolist(), strict=True):
                became[place] = value
        found[name] = figures.share(became, [problem for problem, _ in asked])
    return found
