"""All sections for one method, and the figures that do not depend on a method."""

from __future__ import annotations

from collections.abc import Callable

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
from reverse_codi.utils.console import progress
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
    sections: list[Callable[[], Figures]] = [
        lambda: matching.matching(predictions, reconstructor),
        lambda: content.claims(predictions),
    ]
    if eval_set.active and eval_set.candidates.enough:
        sections.append(lambda: retrieving.retrieval(predictions))
    if eval_set.gold_steps:
        sections.append(lambda: {**content.steps(predictions), **content.exact(predictions)})
        sections.append(lambda: causal.counterfactual(predictions))
    sections.append(lambda: faithful.wrong_traces(predictions))
    sections.append(lambda: faithful.swaps(predictions))
    sections.append(lambda: faithful.agreement(predictions))
    if reasons.can_replace(eval_set):
        sections.append(lambda: causal.replaced(predictions))
    if eval_set.active:
        sections.append(lambda: matching.robustness(predictions))
        sections.append(lambda: readable.readability(predictions, second))
    found: Figures = {}
    with progress("its sections of figures", len(sections)) as advance:
        for section in sections:
            found |= section()
            advance(1)
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
