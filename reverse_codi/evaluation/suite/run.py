"""All sections for one method, and the figures that do not depend on a method."""

from __future__ import annotations

from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.evaluation.suite import (
    causal,
    content,
    faithful,
    matching,
    readable,
    reasons,
    retrieving,
    thinking,
)
from reverse_codi.evaluation.suite.predictions import Predictions
from reverse_codi.reading.language_model import LanguageModel
from reverse_codi.reading.reconstructor import Reconstructor
from reverse_codi.utils import figures
from reverse_codi.utils.figures import Figures


def evaluate(
    predictions: Predictions,
    *,
    reconstructor: Reconstructor | None = None,
    second: LanguageModel | None = None,
) -> Figures:
    """Every figure of one method; one that cannot be computed is null, with the reason.

    Args:
        predictions: the texts of the verbalizer or of a control.
        reconstructor: gives `fve.reconstructor`.
        second: a second language model for `readability.nll_second`.
    """
    eval_set = predictions.eval_set
    found = {**matching.matching(predictions, reconstructor), **content.claims(predictions)}
    if eval_set.active and eval_set.candidates.enough:
        found |= retrieving.retrieval(predictions)
    if eval_set.gold_steps:
        found |= {**content.steps(predictions), **content.exact(predictions)}
        found |= causal.counterfactual(predictions)
    found |= faithful.wrong_traces(predictions)
    found |= faithful.swaps(predictions)
    found |= faithful.agreement(predictions)
    if reasons.can_replace(eval_set):
        found |= causal.replaced(predictions)
    if eval_set.active:
        found |= matching.robustness(predictions)
        found |= readable.readability(predictions, second)
    return reasons.completed(found, reasons.OF_METHOD, eval_set)


def shared_figures(eval_set: EvalSet) -> Figures:
    """Figures of the thoughts themselves, whatever the method."""
    found = {"accuracy": figures.share(figures.flags(eval_set.right), range(len(eval_set.right)))}
    if eval_set.gold_steps:
        found |= {**thinking.lens(eval_set), **thinking.likelihood(eval_set)}
        found |= thinking.error_ceiling(eval_set)
    found |= {**thinking.activity(eval_set), **thinking.diagnostics(eval_set)}
    if reasons.can_replace(eval_set):
        found |= causal.constant_replacements(eval_set)
    return reasons.completed(found, reasons.OF_THOUGHTS, eval_set)
