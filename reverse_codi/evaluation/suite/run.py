"""All sections for one writer, and the figures that no writer has a part in."""

from __future__ import annotations

from reverse_codi.evaluation.exam import Exam
from reverse_codi.evaluation.figures import Figures
from reverse_codi.evaluation.suite import causal, content, faithful, matching, readable, retrieving, thinking
from reverse_codi.evaluation.suite.said import Said, Writer
from reverse_codi.reading.reconstructor import Reconstructor
from reverse_codi.reasoners.base import Reasoner


def evaluate(
    exam: Exam,
    write: Writer,
    *,
    seed: int = 0,
    reconstructor: Reconstructor | None = None,
    second: Reasoner | None = None,
) -> Figures:
    """Every figure of one writer.

    Args:
        exam: what is asked.
        write: the verbalizer or a control.
        seed: of distractors, edits and donors.
        reconstructor: gives `fve.reconstructor`.
        second: a second language model for `readability.nll_second`.
    """
    said = Said(exam, write)
    return {
        **matching.matching(said, reconstructor),
        **retrieving.retrieval(said, seed),
        **content.steps(said),
        **content.claims(said),
        **faithful.wrong_traces(said),
        **faithful.swaps(said),
        **faithful.agreement(said),
        **causal.replaced(said, seed),
        **causal.counterfactual(said, seed),
        **matching.robustness(said, seed),
        **readable.readability(said, second),
    }


def examine(exam: Exam, seed: int = 0) -> Figures:
    """What the thoughts hold and do, whoever writes."""
    return {
        **thinking.lens(exam),
        **thinking.likelihood(exam, seed),
        **thinking.liveliness(exam),
        **thinking.diagnostics(exam),
        **causal.constant_replacements(exam, seed),
    }
