"""From traces to the flat thoughts that are translated, trained on and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reverse_codi.errors import UserError
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.recipe.reading import Target
from reverse_codi.traces.store import TraceStore


def thought_sites(n_thoughts: int) -> list[Site]:
    """The hidden states h0..h(K-1); hK is never fed, so it is no thought."""
    return [Site("h", k) for k in range(n_thoughts)]


def target_sites(target: Target, n_thoughts: int) -> list[Site]:
    """What is translated: every thought by itself, or the answer that all of them lead to."""
    return [ANSWER] if target is Target.ANSWER else thought_sites(n_thoughts)


def slots_at(latent_inputs: Tensor, site: Site) -> Tensor:
    """What the verbalizer is given for `site`, of latent inputs [N, K, d]: [N, S, d].

    S = 1, the latent input of the same index; for the answer S = K, all of them.
    """
    return latent_inputs if site == ANSWER else latent_inputs[:, site.index, None]


def thoughts_of(
    traces: TraceStore,
    sites: Sequence[Site],
    encoded: EncodedSteps,
    active_only: bool = False,
    claims: Sequence[Sequence[str]] | None = None,
) -> Thoughts:
    """Every thought of every trace, problem by problem.

    Args:
        traces: N traces.
        sites: hidden states, or the answer alone.
        encoded: which claims make a thought's gold text.
        active_only: leave out thoughts that encode no step.
        claims: N lists of claims to take for the steps; the traces' gold ones if None.

    Raises:
        UserError: no thought is left.
    """
    steps = traces.claims if claims is None else claims
    pairs = [
        (row, site)
        for row, of_problem in enumerate(steps)
        for site in sites
        if not active_only or encoded.holds(site, len(of_problem))
    ]
    if not pairs:
        raise UserError(
            "none of these thoughts encodes a step or a result, so there is nothing to translate: raise "
            "trace.n, lower reading.encoded_threshold (encoded_steps.json has the score of each part), or "
            "choose another reasoner (reverse-codi check-reasoner says what it holds)"
        )
    slots = {site: slots_at(traces.latent_inputs, site) for site in sites}
    targets = {site: traces.vectors(site) for site in sites}
    return Thoughts(
        slots=torch.stack([slots[site][row] for row, site in pairs]),
        targets=torch.stack([targets[site][row] for row, site in pairs]),
        sites=[site for _, site in pairs],
        problems=[row for row, _ in pairs],
        questions=[traces.questions[row] for row, _ in pairs],
        gold=[encoded.text(site, steps[row]) for row, site in pairs],
        claims=[list(steps[row]) for row, _ in pairs],
        answers=[traces.answers[row] for row, _ in pairs],
    )


def bank_rows(thoughts: Thoughts) -> list[list[int]]:
    """The bank rows of each thought when the bank holds all slots in order."""
    n, slots, _ = thoughts.slots.shape
    return [list(range(row * slots, (row + 1) * slots)) for row in range(n)]


@dataclass(frozen=True)
class Thoughts:
    """Thoughts to translate, flat over problems and sites.

    Attributes:
        slots: [N, S, d] what enters the verbalizer.
        targets: [N, d] what a text must reproduce.
        sites: N sites.
        problems: N problem numbers; thoughts of one problem are resampled together.
        questions: N questions.
        gold: N gold texts ("(no step)" where the thought holds none).
        claims: N lists of the problem's claims.
        answers: N answers that the reasoner gave, None where it stated none.
    """

    slots: Tensor
    targets: Tensor
    sites: list[Site]
    problems: list[int]
    questions: list[str]
    gold: list[str]
    claims: list[list[str]]
    answers: list[str | None]

    def __len__(self) -> int:
        """N."""
        return len(self.sites)

    def take(self, rows: Sequence[int]) -> Thoughts:
        """The given rows, in order."""
        index = list(rows)
        return Thoughts(
            self.slots[index],
            self.targets[index],
            [self.sites[i] for i in index],
            [self.problems[i] for i in index],
            [self.questions[i] for i in index],
            [self.gold[i] for i in index],
            [self.claims[i] for i in index],
            [self.answers[i] for i in index],
        )
