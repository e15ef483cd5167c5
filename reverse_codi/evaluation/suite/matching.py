"""How near the texts lie, and what changes that: match, cosine, variance explained, robustness."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

from reverse_codi.evaluation.metrics import geometry
from reverse_codi.evaluation.suite.predictions import Predictions
from reverse_codi.reading.edits import number_changed, paraphrases, shuffled
from reverse_codi.reading.reader import Reader
from reverse_codi.reading.reconstructor import Reconstructor
from reverse_codi.recipe.reading import Map, Point, ReadSpec
from reverse_codi.utils import figures
from reverse_codi.utils.bootstrap import Interval, explained, interval
from reverse_codi.utils.figures import RESAMPLES, Figures
from reverse_codi.verbalize.thoughts import Thoughts

# The state itself: the frozen model's last layer at the end of the text.
RAW = ReadSpec(point=Point.LAST, layers="final", map=Map.IDENTITY)
# Draws of a changed number before a text counts as one without numbers.
ATTEMPTS = 8


def matching(predictions: Predictions, reconstructor: Reconstructor | None = None) -> Figures:
    """`match.*`, `cosine.centred` and `fve.*` on causally active thoughts; `match.inactive` on the others."""
    found = _of_active(predictions, reconstructor) if predictions.eval_set.active else {}
    return found | _of_inactive(predictions)


def _of_active(predictions: Predictions, reconstructor: Reconstructor | None) -> Figures:
    eval_set, metric = predictions.eval_set, predictions.eval_set.context.metric
    thoughts, predicted = eval_set.thoughts.take(eval_set.active), predictions.predicted[eval_set.active]
    distance = metric.distance(thoughts.targets, predicted, thoughts.sites)
    to_mean = metric.distance_to_mean(thoughts.targets, thoughts.sites)
    found = {"match.whitened": figures.over(distance, to_mean, thoughts.problems, explained)}
    for site in sorted(set(thoughts.sites)):
        rows = [row for row, s in enumerate(thoughts.sites) if s == site]
        problems = [thoughts.problems[row] for row in rows]
        found[f"match.{site}"] = figures.over(distance[rows], to_mean[rows], problems, explained)
    means = torch.stack([metric.map_of(site).mean for site in thoughts.sites])
    cosine = geometry.centred_cosine(thoughts.targets, predicted, means)
    found["cosine.centred"] = figures.mean(cosine, thoughts.problems)
    texts = predictions.of_active()
    raw = Reader(eval_set.context.reasoner, RAW).features(texts)
    found["fve.raw"] = _fve(thoughts, raw, means)
    found["fve.affine"] = _fve(thoughts, predicted, means)
    if reconstructor is not None:
        found["fve.reconstructor"] = _fve(thoughts, reconstructor.predict(texts, thoughts.sites), means)
    return found


def _of_inactive(predictions: Predictions) -> Figures:
    eval_set, metric = predictions.eval_set, predictions.eval_set.context.metric
    rest = sorted(set(range(len(eval_set.thoughts))) - set(eval_set.active))
    inactive = eval_set.thoughts.take(rest)
    figure = figures.NOTHING
    if rest:
        figure = figures.over(
            metric.distance(inactive.targets, predictions.predicted[rest], inactive.sites),
            metric.distance_to_mean(inactive.targets, inactive.sites),
            inactive.problems,
            explained,
        )
    return {"match.inactive": figure}


def _fve(thoughts: Thoughts, predicted: Tensor, means: Tensor) -> Interval:
    errors, totals = geometry.squared_errors(thoughts.targets, predicted, means)
    table = geometry.site_table(errors, totals, thoughts.sites, thoughts.problems)
    return interval(table, geometry.mean_fve, resamples=RESAMPLES)


def robustness(predictions: Predictions) -> Figures:
    """`robust.*`: match lost when a text is paraphrased, has one number changed, or its words shuffled.

    A text counts only if it is nearer to its thought than an empty text (else it has nothing to lose), and if
    the edit is possible. `robust.counted` is the share of causally active thoughts whose text is near enough.
    If that is less than half, the method has no figure of robustness.
    """
    eval_set, metric = predictions.eval_set, predictions.eval_set.context.metric
    thoughts = eval_set.thoughts.take(eval_set.active)
    match = metric.match(thoughts.targets, predictions.predicted[eval_set.active], thoughts.sites)
    near = [row for row, m in zip(eval_set.active, match.tolist(), strict=True) if m > 0]
    if 2 * len(near) < len(eval_set.active):
        near = []
    rng = random.Random(eval_set.seed)

    def changed(text: str) -> list[str]:
        drawn = (number_changed(text, rng) for _ in range(ATTEMPTS))
        return [other for other in drawn if other != text and eval_set.context.knows(other)][:1]

    def words_moved(text: str) -> list[str]:
        drawn = (shuffled(text, rng) for _ in range(ATTEMPTS))
        return [other for other in drawn if other.split() != text.split()][:1]

    edits: dict[str, Callable[[str], list[str]]] = {
        "paraphrase": lambda text: paraphrases(text, eval_set.context.knows),
        "number": changed,
        "shuffle": words_moved,
    }
    drops = {f"robust.{name}_drop": _drop(predictions, near, edit) for name, edit in edits.items()}
    return drops | {"robust.counted": figures.share((match > 0).double(), thoughts.problems)}


def _drop(predictions: Predictions, near: list[int], edit: Callable[[str], list[str]]) -> Interval:
    eval_set, metric = predictions.eval_set, predictions.eval_set.context.metric
    pairs = [(row, other) for row in near for other in edit(predictions.heldout[row])]
    if not pairs:
        return figures.NOTHING
    rows = [row for row, _ in pairs]
    thoughts = eval_set.thoughts.take(rows)
    edited = eval_set.predicted(thoughts, [text for _, text in pairs])
    before = metric.distance(thoughts.targets, predictions.predicted[rows], thoughts.sites)
    after = metric.distance(thoughts.targets, edited, thoughts.sites)
    to_mean = metric.distance_to_mean(thoughts.targets, thoughts.sites)
    return figures.over(after - before, to_mean, thoughts.problems)
