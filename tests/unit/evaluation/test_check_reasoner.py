from __future__ import annotations

from collections.abc import Sequence

import torch

from reverse_codi.evaluation.check_reasoner import check
from reverse_codi.reasoners.base import Chains, Patch
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split
from tests.fakes import FakeReasoner

TASK, N = Arithmetic(), 120


def test_an_untrained_reasoner_knows_nothing(tiny_reasoner: CodiReasoner) -> None:
    figures = check(tiny_reasoner, TASK, seed=3, n=N, with_probe=False)
    assert figures.n == N
    assert figures.accuracy == figures.accuracy_text == 0
    assert figures.solutions_with_step == figures.steps_written == 0
    assert set(figures.by_steps) == {"1", "2", "3", "4"}
    assert figures.probe == {}


class Oracle(FakeReasoner):
    """Thinks of the answer in its one thought, and says whatever that thought says."""

    def __init__(self, solutions: dict[str, str] | None = None) -> None:
        self.solutions = solutions or {}
        both = [*TASK.problems(Split.HELDOUT, N, 3), *TASK.problems(Split.TRAIN, 2_000, 3)]
        self.answers = {p.question: float(p.answer) for p in both}

    def think(
        self, questions: Sequence[str], patch: Patch | None = None, n_thoughts: int | None = None
    ) -> Chains:
        if n_thoughts == 0:
            return Chains(torch.empty(0), torch.empty(0), ["I do not know"] * len(questions))
        latent_inputs = torch.tensor([self.answers[q] for q in questions])[:, None, None]
        if patch is not None:
            latent_inputs = torch.where(patch.where[..., None], patch.latent_inputs, latent_inputs)
        hidden_states = latent_inputs.repeat(1, 2, 1)
        return Chains(
            hidden_states, latent_inputs, [f"The answer is: {v:g}" for v in latent_inputs.flatten().tolist()]
        )

    def write(self, questions: Sequence[str], begun: Sequence[str] | None = None) -> list[str]:
        return [self.solutions.get(q, "The answer is: 1") for q in questions]


def test_a_reasoner_that_thinks_differs_from_its_ablations() -> None:
    figures = check(Oracle(), TASK, seed=3, n=N, with_probe=False)
    assert figures.accuracy == figures.accuracy_two_plus == 1.0
    assert set(figures.by_steps.values()) == {1.0}
    assert figures.accuracy_text < 0.2 and figures.text_mode == "none"
    assert figures.accuracy_mean_ablated < 0.2
    assert figures.accuracy_resampled == 0.0  # donors never share the answer


def test_answers_without_steps_are_no_text_mode_and_steps_are_counted_in_their_place() -> None:
    problems = TASK.problems(Split.HELDOUT, N, 3)
    bare = {p.question: f"The answer is: {p.answer}" for p in problems}
    figures = check(Oracle(bare), TASK, seed=3, n=N, with_probe=False)
    assert (figures.accuracy_text, figures.text_mode) == (1.0, "none")
    assert figures.solutions_with_step == figures.steps_written == 0
    # Each solution begins with its gold step; the others stand one place too early.
    late = {
        p.question: f"{p.claims[0]}. {' '.join(f'{c}.' for c in p.claims[2:])} The answer is: {p.answer}"
        for p in problems
    }
    figures = check(Oracle(late), TASK, seed=3, n=N, with_probe=False)
    assert (figures.accuracy_text, figures.text_mode, figures.solutions_with_step) == (1.0, "steps", 1.0)
    assert figures.steps_written == N / sum(len(p.steps) for p in problems)
