"""Does a thought's own translation lie nearest to it, among 64 texts?"""

from __future__ import annotations

import torch

from reverse_codi.evaluation.candidates import AMONG
from reverse_codi.evaluation.metrics.ranking import ranks, reciprocal, top1
from reverse_codi.evaluation.suite.said import Said
from reverse_codi.utils import figures
from reverse_codi.utils.figures import Figures

# Thoughts read at once: 64 texts each.
BLOCK = 256


def retrieval(said: Said) -> Figures:
    """`retrieval.top1_64` and `.mrr` of live thoughts, all texts under the thought's own question."""
    exam, measure = said.exam, said.exam.subject.measure
    found = []
    for start in range(0, len(exam.live), BLOCK):
        rows = exam.live[start : start + BLOCK]
        thoughts = exam.thoughts.take(rows)
        texts = [t for row in rows for t in (said.heldout[row], *exam.candidates.of(row, said.heldout[row]))]
        sites = [site for site in thoughts.sites for _ in range(AMONG)]
        questions = [question for question in thoughts.questions for _ in range(AMONG)]
        predicted = measure.predict(texts, sites, questions)
        distance = measure.distance(thoughts.targets.repeat_interleave(AMONG, 0), predicted, sites)
        found.append(ranks(distance.view(-1, AMONG)))
    ranked = torch.cat(found)
    problems = [exam.thoughts.problems[row] for row in exam.live]
    return {
        "retrieval.top1_64": figures.share(top1(ranked), problems),
        "retrieval.mrr": figures.share(reciprocal(ranked), problems),
    }
