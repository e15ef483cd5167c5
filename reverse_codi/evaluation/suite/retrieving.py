"""Does a thought's own translation lie nearest to it, among 64 texts?"""

from __future__ import annotations

import torch

from reverse_codi.evaluation.defaults import AMONG
from reverse_codi.evaluation.metrics.ranking import ranks, reciprocal, top1
from reverse_codi.evaluation.suite.predictions import Predictions
from reverse_codi.utils import figures
from reverse_codi.utils.figures import Figures

# Thoughts read at once: 64 texts each.
BLOCK = 256


def retrieval(predictions: Predictions) -> Figures:
    """`retrieval.top1_64` and `.mrr` of active thoughts, all texts under the thought's own question."""
    eval_set, metric = predictions.eval_set, predictions.eval_set.context.metric
    found, every = [], eval_set.retrieved
    for start in range(0, len(every), BLOCK):
        rows = every[start : start + BLOCK]
        thoughts = eval_set.thoughts.take(rows)
        texts = [
            t
            for row in rows
            for t in (predictions.heldout[row], *eval_set.candidates.of(row, predictions.heldout[row]))
        ]
        sites = [site for site in thoughts.sites for _ in range(AMONG)]
        questions = [question for question in thoughts.questions for _ in range(AMONG)]
        predicted = metric.predict(texts, sites, questions)
        distance = metric.distance(thoughts.targets.repeat_interleave(AMONG, 0), predicted, sites)
        found.append(ranks(distance.view(-1, AMONG)))
    ranked = torch.cat(found)
    problems = [eval_set.thoughts.problems[row] for row in every]
    return {
        "retrieval.top1_64": figures.share(top1(ranked), problems),
        "retrieval.mrr": figures.share(reciprocal(ranked), problems),
    }
