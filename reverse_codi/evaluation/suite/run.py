"""All sections for one method, and the figures that do not depend on a method."""

from __future__ import annotations

from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.evaluation.suite import causal, content, faithful, matching, readable, retrieving, thinking
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
    """Every figure of one method.

    Args:
        predictions: the texts of the verbalizer or of a control.
        reconstructor: gives `fve.reconstructor`.
        second: a second language model for `readability.nll_second`.
    """
    return {
        **matching.matching(predictions, reconstructor),
        **retrieving.retrieval(predictions),
        **content.steps(predictions),
        **content.exact(predictions),
        **content.claims(predictions),
        **faithful.wrong_traces(predictions),
        **faithful.swaps(predictions),
        **faithful.agreement(predictions),
        **causal.replaced(predictions),
        **causal.counterfactual(predictions),
        **matching.robustness(predictions),
        **readable.readability(predictions, second),
    }


def shared_figures(eval_set: EvalSet) -> Figures:
    """Figures of the thoughts themselves, whatever the method."""
    return {
        "accuracy": figures.share(figures.flags(eval_set.right), range(len(eval_set.right))),
        **thinking.lens(eval_set),
        **thinking.likelihood(eval_set),
        **thinking.activity(eval_set),
        **thinking.error_ceiling(eval_set),
        **thinking.diagnostics(eval_set),
        **causal.constant_replacements(eval_set),
    }
