"""From traces to the flat thoughts that are translated, trained on and scored."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reverse_codi.evaluation.translation import Thoughts
from reverse_codi.reading.claims import HeldSteps
from reverse_codi.sites import Site
from reverse_codi.traces import TraceStore


def thought_sites(n_thoughts: int) -> list[Site]:
    """The readouts h0..h(K-1); hK is never fed, so it is no thought."""
    return [Site("h", k) for k in range(n_thoughts)]


def thoughts_of(
    traces: TraceStore,
    sites: Sequence[Site],
    held: HeldSteps,
    live_only: bool = False,
    claims: Sequence[Sequence[str]] | None = None,
) -> Thoughts:
    """Every thought of every trace, problem by problem.

    Args:
        traces: N traces.
        sites: readouts; the verbalizer is given the fed vector of the same index.
        held: which claims make a thought's gold text.
        live_only: leave out thoughts that hold no step.
        claims: N lists of claims to take for the steps; the traces' gold ones if None.

    Raises:
        ValueError: no thought is left.
    """
    steps = traces.claims if claims is None else claims
    pairs = [
        (row, site)
        for row, of_problem in enumerate(steps)
        for site in sites
        if not live_only or held.steps(site, len(of_problem))
    ]
    if not pairs:
        raise ValueError(
            "no thought holds a step, so there is nothing to translate: lower reading.held_threshold, or "
            "choose another reasoner (python -m reverse_codi.evaluation.check_reasoner says what it holds)"
        )
    rows = torch.tensor([row for row, _ in pairs])
    index = torch.tensor([site.index for _, site in pairs])
    return Thoughts(
        slots=traces.fed[rows, index][:, None],
        targets=traces.readouts[rows, index],
        sites=[site for _, site in pairs],
        problems=[row for row, _ in pairs],
        questions=[traces.questions[row] for row, _ in pairs],
        gold=[held.text(site, steps[row]) for row, site in pairs],
        claims=[list(steps[row]) for row, _ in pairs],
    )
