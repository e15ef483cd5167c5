"""Are the texts readable, short, and varied?"""

from __future__ import annotations

from reverse_codi.evaluation.defaults import AMONG
from reverse_codi.evaluation.metrics import readability as metrics
from reverse_codi.evaluation.suite.predictions import Predictions, by_trace
from reverse_codi.evaluation.suite.reasons import FEW_QUESTIONS
from reverse_codi.reading.claims import NO_STEP
from reverse_codi.reading.interventions.diagnostics import prompt_reconstruction
from reverse_codi.reading.language_model import LanguageModel
from reverse_codi.utils import figures
from reverse_codi.utils.figures import Figures, nothing

# Blocks of 64 questions: 4,096 likelihoods each.
PROMPT_BLOCKS = 2


def readability(predictions: Predictions, second: LanguageModel | None = None) -> Figures:
    """`readability.*` of active thoughts' texts; `nll_second` under a second language model, if any."""
    eval_set = predictions.eval_set
    texts = predictions.of_active()
    problems = [eval_set.thoughts.problems[row] for row in eval_set.active]
    found = {
        "readability.nll": figures.mean(eval_set.context.reasoner.nll(texts), problems),
        "readability.length": figures.mean(metrics.lengths(texts), problems),
        "top_share": figures.share(metrics.top_share(texts), problems),
    }
    for n in (1, 2):
        distinct = metrics.distinct_n(texts, n)
        found[f"readability.distinct_{n}"] = figures.share(distinct[:, 0], problems, distinct[:, 1])
    if second is not None:
        found["readability.nll_second"] = figures.mean(second.nll(texts), problems)
    return found


def prompt(predictions: Predictions) -> Figures:
    """`prompt.top1_64`: under which of 64 questions the chain of translations is likeliest in CoT mode."""
    eval_set = predictions.eval_set
    if len(eval_set.heldout) < AMONG:
        return {"prompt.top1_64": nothing(FEW_QUESTIONS)}
    chains = [
        " ".join(text.strip() for text in texts if text.replace(" ", "") != NO_STEP.replace(" ", ""))
        for texts in by_trace(predictions.heldout, eval_set.thoughts)
    ]
    hits = prompt_reconstruction(
        eval_set.context.reasoner, chains, eval_set.heldout.questions, AMONG, limit=PROMPT_BLOCKS
    )
    return {"prompt.top1_64": figures.share(hits, range(len(hits)))}
