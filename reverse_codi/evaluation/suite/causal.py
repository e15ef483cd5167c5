"""Does the model continue from a translation as from the thought itself?

The text is read, mapped to a hidden state and projected, and the result replaces the thought.
"""

from __future__ import annotations

import random

from reverse_codi.evaluation.counterfactual import edited_step
from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.evaluation.suite.predictions import Predictions, by_trace
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

# Replacements that do not depend on the method.
CONSTANT = (
    Replacement.ZERO,
    Replacement.MEAN,
    Replacement.NOISE,
    Replacement.OTHER,
    Replacement.EMPTY_TEXT,
    Replacement.GOLD_TEXT,
)


def _setting(eval_set: EvalSet, texts: list[str]) -> tuple[Traced, Sources]:
    """Held-out traces that can lose an answer, and what replaces their thoughts."""
    rows = eval_set.traced.usable
    traced = eval_set.traced.take(rows)
    gold = by_trace(eval_set.thoughts.gold, eval_set.thoughts)
    translations = by_trace(texts, eval_set.thoughts)
    sources = Sources(
        eval_set.context.reasoner,
        eval_set.context.metric,
        Moments.of(eval_set.context.train.latent_inputs),
        traced.donors(eval_set.seed),
        [gold[row] for row in rows],
        [translations[row] for row in rows],
        eval_set.seed,
    )
    return traced, sources


def replaced(predictions: Predictions) -> Figures:
    """`causal.kept_all`, `.kept_each` of translations; `causal.kept_all.other_text` of another problem's."""
    eval_set = predictions.eval_set
    reasoner, task = eval_set.context.reasoner, eval_set.context.task
    traced, sources = _setting(eval_set, predictions.heldout)
    latent_inputs = replacement_vectors(Replacement.TRANSLATION, traced, sources)
    other = replacement_vectors(Replacement.OTHER_TEXT, traced, sources)
    each = kept_each(reasoner, task, traced, latent_inputs)
    return {
        "causal.kept_all": figures.share(kept_all(reasoner, task, traced, latent_inputs), range(len(traced))),
        "causal.kept_each": figures.share(each.kept, each.rows),
        "causal.kept_all.other_text": figures.share(
            kept_all(reasoner, task, traced, other), range(len(traced))
        ),
    }


def constant_replacements(eval_set: EvalSet) -> Figures:
    """`causal.kept_all.KIND` for replacements that do not depend on the method."""
    traced, sources = _setting(eval_set, [""] * len(eval_set.thoughts))
    reasoner, task = eval_set.context.reasoner, eval_set.context.task
    kinds = [kind for kind in CONSTANT if eval_set.gold_steps or kind is not Replacement.GOLD_TEXT]
    return {
        f"causal.kept_all.{kind}": figures.share(
            kept_all(reasoner, task, traced, replacement_vectors(kind, traced, sources)), range(len(traced))
        )
        for kind in kinds
    }


def counterfactual(predictions: Predictions) -> Figures:
    """`causal.counterfactual`: the answer becomes what the translation implies with a number changed.

    The last operand of the translation is changed, and its result with it. The edited text is read, and its
    vector replaces that thought alone. If the steps of training are a closed world, edits stay within them
    (`EvalSet.repertoire`). `.inconsistent` changes only the result. Only thoughts of right traces count. A
    translation is a failure if no number in it can be changed, if the next step does not start from it, or if
    it ends the chain with another result than the answer.
    """
    eval_set = predictions.eval_set
    rng = random.Random(eval_set.seed)
    thoughts = eval_set.thoughts
    asked: list[tuple[int, int]] = []  # (problem, thought) of every edit that gold allows
    made: dict[int, tuple[str, str, str]] = {}
    for row in eval_set.editable:
        claims, [step] = thoughts.claims[row], eval_set.steps_encoded[row]
        stated = [equation.claim for equation in parse_equations(predictions.heldout[row])]
        if len(stated) == 1:
            chain = [*claims[:step], stated[0], *claims[step + 1 :]]
            follows = result_of(chain[-1]) == thoughts.answers[row]
            edit = edited_step(chain, step, rng, eval_set.plausible) if follows else None
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
            context = eval_set.context
            followed = follow(context.reasoner, context.metric, context.task, eval_set.traced, edits)
            for place, value in zip(places, followed.became.tolist(), strict=True):
                became[place] = value
        found[name] = figures.share(became, [problem for problem, _ in asked])
    return found
