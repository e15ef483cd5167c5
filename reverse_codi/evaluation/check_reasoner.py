"""Is a reasoner worth translating? Accuracy with and without its thoughts, and what probes read.

`reverse-codi check-reasoner --seed S [--json]`, on fresh held-out problems of any seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from reverse_codi.evaluation.text_mode import HALF, WrittenSteps
from reverse_codi.evaluation.thoughtless import mean_thoughts, right, without_thoughts
from reverse_codi.reading.probes import probe_steps
from reverse_codi.reasoners.base import Reasoner
from reverse_codi.reasoners.question_checks import askable
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split

# Traces of three-step training problems that the probes are fitted on, and held-out ones they are scored on.
PROBE_TRAIN, PROBE_TEST, PROBE_STEPS = 20_000, 1_000, 3


@dataclass(frozen=True)
class Check:
    """Figures of one reasoner; the ablations are on problems of two or more steps.

    Attributes:
        accuracy: with its own thoughts.
        accuracy_text: in CoT mode.
        text_mode: "steps" where CoT mode solves problems in steps, else "none": its solutions hold none, or
            solve less than half of what its thoughts solve.
        solutions_with_step: share of its solutions in CoT mode that hold a step.
        steps_written: share of the gold steps that it writes in CoT mode.
        accuracy_mean_ablated: every thought replaced by its training mean.
        accuracy_resampled: every thought replaced by another problem's.
        accuracy_two_plus: with its own thoughts, on the problems of the ablations.
        by_steps: number of steps -> accuracy with its own thoughts.
        probe: site -> held-out accuracy for each step's result, on three-step problems.
        n: problems drawn.
    """

    accuracy: float
    accuracy_text: float
    text_mode: Literal["steps", "none"]
    solutions_with_step: float
    steps_written: float
    accuracy_mean_ablated: float
    accuracy_resampled: float
    accuracy_two_plus: float
    by_steps: dict[str, float]
    probe: dict[str, list[float]]
    n: int


def share(flags: Sequence[bool]) -> float:
    """Share of true flags, 0 of none."""
    return sum(flags) / max(1, len(flags))


def probe_table(reasoner: Reasoner, task: Arithmetic, seed: int) -> dict[str, list[float]]:
    """Held-out probe accuracy by site and step on three-step problems."""

    def traces(split: Split, n: int) -> tuple[dict[Site, Tensor], list[list[str]]]:
        problems = task.problems(split, n, seed, n_steps=PROBE_STEPS)
        chains = reasoner.think([p.question for p in problems])
        sites = [Site("h", k) for k in range(reasoner.n_thoughts + 1)]
        sites += [Site("z", k) for k in range(reasoner.n_thoughts)]
        return {site: chains.at(site) for site in sites}, [p.claims for p in problems]

    table = probe_steps(*traces(Split.TRAIN, PROBE_TRAIN), *traces(Split.HELDOUT, PROBE_TEST))
    return {str(site): row for site, row in table.items()}


def check(reasoner: Reasoner, task: Arithmetic, seed: int, n: int = 1_000, with_probe: bool = True) -> Check:
    """Draw `n` fresh held-out problems and measure."""
    problems = askable(reasoner, task.problems(Split.HELDOUT, n, seed), "error", writes=True)
    questions = [p.question for p in problems]
    chains = reasoner.think(questions)
    own = right(reasoner, task, chains.outputs, problems)
    solutions = reasoner.write(questions)
    text = share(right(reasoner, task, solutions, problems))
    written = WrittenSteps.of(solutions, problems)
    writes = share(written.any) >= HALF and text >= HALF * share(own)
    by_steps = {
        str(k): share([ok for ok, p in zip(own, problems, strict=True) if len(p.steps) == k])
        for k in sorted({len(p.steps) for p in problems})
    }
    long = [i for i, p in enumerate(problems) if len(p.steps) >= 2]
    asked, latent_inputs = [problems[i] for i in long], chains.latent_inputs[long]
    without = without_thoughts(reasoner, task, asked, latent_inputs, mean_thoughts(reasoner, task, seed))
    return Check(
        accuracy=share(own),
        accuracy_text=text,
        text_mode="steps" if writes else "none",
        solutions_with_step=share(written.any),
        steps_written=share(written.gold),
        accuracy_mean_ablated=share(without["mean"]),
        accuracy_resampled=share(without["resampled"]),
        accuracy_two_plus=share([own[i] for i in long]),
        by_steps=by_steps,
        probe=probe_table(reasoner, task, seed) if with_probe and reasoner.n_thoughts else {},
        n=n,
    )
