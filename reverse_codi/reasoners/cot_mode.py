"""The answer that follows a written solution directly."""

from __future__ import annotations

from collections.abc import Sequence

from reverse_codi.reasoners.codi import CodiReasoner


def conclude(reasoner: CodiReasoner, questions: Sequence[str], solutions: Sequence[str]) -> list[str]:
    """The answers, each after its cue, that CoT mode gives right after written solutions.

    This function writes the cue, or eot if answers stand alone, so that the model adds no step.

    Args:
        reasoner: the frozen model.
        questions: N questions.
        solutions: N solutions; an empty one has no step.
    """
    cue = reasoner.answer_cue
    if cue:
        ends = [reasoner.ids(f"{solution} {cue}".lstrip()) for solution in solutions]
    else:
        ends = [[*reasoner.ids(solution), reasoner.config.eot_id] for solution in solutions]
    rows = [row + end for row, end in zip(reasoner.before_steps(questions), ends, strict=True)]
    return [f"{cue} {answer}".lstrip() for answer in reasoner.continued(rows)]
