"""Which thoughts the answer depends on, by swaps between minimal pairs.

Two problems share every word except one number. Thought k of the second problem, the donor, replaces that of
the first, the recipient, and later thoughts are recomputed. If the thought is causally active, the answer
changes.

Shapes: N problems, K thoughts, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from reverse_codi.reading.claims import ACTIVE_SHARE
from reverse_codi.reading.interventions.replace import kept, only
from reverse_codi.reasoners.base import Chains, Patch, Reasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.answers import answer_of
from reverse_codi.tasks.base import Problem, Task
from reverse_codi.utils.bootstrap import Floats
from reverse_codi.utils.console import progress


def swapped(reasoner: Reasoner, questions: Sequence[str], donor_inputs: Tensor, thought: int) -> Chains:
    """Chains of N questions with thought k replaced by the donors' [N, K, d]; later thoughts are recomputed.

    In the result, `latent_inputs[:, k]` is the donor's and `hidden_states[:, k + 1:]` follow from it.
    `hidden_states[:, k]` stays the recipient's own.
    """
    return reasoner.think(
        questions, Patch(donor_inputs, only([thought] * len(questions), donor_inputs.shape[1]))
    )


@dataclass(frozen=True)
class Swaps:
    """Swaps of one thought in problems of one length.

    Attributes:
        to_donor: [P] 1 where the answer of the pair became the donor's.
        moved: [P] 1 where the answer changed at all, or was lost.
    """

    to_donor: Floats
    moved: Floats


@dataclass(frozen=True)
class CausalActivity:
    """Swaps of every thought.

    Attributes:
        swaps: (site, number of steps) -> values a pair, in the same order for each site.
    """

    swaps: Mapping[tuple[Site, int], Swaps]

    def moved(self) -> dict[tuple[Site, int], float]:
        """(site, number of steps) -> share of answers that changed."""
        return {key: float(values.moved.mean()) for key, values in self.swaps.items()}

    def active(self, threshold: float = ACTIVE_SHARE) -> set[tuple[Site, int]]:
        """(site, number of steps) where the share of answers that changed is at least `threshold`."""
        return {key for key, share in self.moved().items() if share >= threshold}


def causal_activity(
    reasoner: Reasoner, task: Task, pairs: Sequence[tuple[Problem, Problem]]
) -> CausalActivity:
    """Swap every thought of every pair, from the second problem into the first.

    Only pairs with two stated, different answers count; a length without such a pair has no entry.

    Args:
        reasoner: the frozen model.
        task: reads its answers.
        pairs: (recipient, donor) of one shape, as `Arithmetic.minimal_pairs` makes them.
    """
    recipients, givers = [a for a, _ in pairs], [b for _, b in pairs]
    own = [answer_of(reasoner, task, o) for o in reasoner.think([p.question for p in recipients]).outputs]
    donor_chains = reasoner.think([p.question for p in givers])
    theirs = [answer_of(reasoner, task, o) for o in donor_chains.outputs]
    used = [i for i in range(len(pairs)) if own[i] is not None and theirs[i] not in (None, own[i])]
    questions, donor_inputs = [recipients[i].question for i in used], donor_chains.latent_inputs[used]
    lengths = np.array([len(recipients[i].steps) for i in used])
    swaps: dict[tuple[Site, int], Swaps] = {}
    with progress("swaps", reasoner.n_thoughts) as advance:
        for k in range(reasoner.n_thoughts):
            outputs = swapped(reasoner, questions, donor_inputs, k).outputs
            answers = [answer_of(reasoner, task, output) for output in outputs]
            to_donor = kept(answers, [theirs[i] for i in used])
            moved = 1 - kept(answers, [own[i] for i in used])
            for n in sorted(set(lengths.tolist())):
                swaps[Site("h", k), n] = Swaps(to_donor[lengths == n], moved[lengths == n])
            advance(1)
    return CausalActivity(swaps)
