"""All sections for one writer, and the figures that no writer has a part in."""

from __future__ import annotations

from reverse_codi.evaluation.exam import Exam
from reverse_codi.evaluation.suite import causal, content, faithful, matching, readable, retrieving, thinking
from reverse_codi.evaluation.suite.said import Said
from reverse_codi.reading.language_model import LanguageModel
from reverse_codi.reading.reconstructor import Reconstructor
from reverse_codi.utils import figures
from reverse_codi.utils.figures import Figures


def evaluate(
    said: Said,
    *,
    reconstructor: Reconstructor | None = None,
    second: LanguageModel | None = None,
) -> Figures:
    """Every figure of one writer.

    Args:
        said: the exam and who writes, the verbalizer or a control.
        reconstructor: gives `fve.reconstructor`.
        second: a second language model for `readability.nll_second`.
    """
    return {
        **matching.matching(said, reconstructor),
        **retrieving.retrieval(said),
        **content.steps(said),
        **content.claims(said),
        **faithful.wrong_traces(said),
        **faithful.swaps(said),
        **faithful.agreement(said),
        **causal.replaced(said),
        **causal.counterfactual(said),
        **matching.robustness(said),
        **readable.readability(said, second),
    }


def examine(exam: Exam) -> Figures:
    """What the thoughts hold and do, whoever writes."""
    return {
        "accuracy": figures.share(figures.flags(exam.right), range(len(exam.right))),
        **thinking.lens(exam),
        **thinking.likelihood(exam),
        **thinking.liveliness(exam),
        **thinking.error_ceiling(exam),
        **thinking.diagnostics(exam),
        **causal.constant_replacements(exam),
    }
