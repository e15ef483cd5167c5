"""The start of every intervention: the model's own chains and answers, and which thoughts to replace.

Shapes: N problems, K thoughts, d width.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reasoners.sites import Site
from reverse_codi.traces.store import TraceStore


@dataclass(frozen=True)
class Traced:
    """Problems as the model itself solved them.

    Attributes:
        questions: N questions.
        latent_inputs: [N, K, d] latent inputs of the model's own thoughts.
        hidden_states: [N, K + 1, d] their hidden states.
        answers: N answers of the model, right or wrong; None where it states none.
        active: [N, K] bool, the thoughts to replace.
    """

    questions: list[str]
    latent_inputs: Tensor
    hidden_states: Tensor
    answers: list[str | None]
    active: Tensor

    def __len__(self) -> int:
        """N."""
        return len(self.questions)

    @staticmethod
    def of(
        traces: TraceStore,
        encoded: EncodedSteps,
        claims: Sequence[Sequence[str]] | None = None,
        moving: Collection[tuple[Site, int]] | None = None,
    ) -> Traced:
        """From stored traces; a thought is active if it encodes a step and swapping it changes the answer.

        Args:
            traces: N traces.
            encoded: which sites encode a step, by the number of steps.
            claims: N lists of claims, whose length is the number of steps; the traces' own if None.
            moving: (site, number of steps) whose swap changes the answer (`CausalActivity.active`); if None,
                encoding a step is enough.
        """
        steps = traces.claims if claims is None else claims
        sites = [Site("h", k) for k in range(traces.latent_inputs.shape[1])]
        of_length = {
            n: [encoded.holds(s, n) and (moving is None or (s, n) in moving) for s in sites]
            for n in set(map(len, steps))
        }
        active = torch.tensor([of_length[len(s)] for s in steps], dtype=torch.bool)
        return Traced(traces.questions, traces.latent_inputs, traces.hidden_states, traces.answers, active)

    def take(self, rows: Sequence[int]) -> Traced:
        """The given rows, in order; a row may occur more than once."""
        index = list(rows)
        return Traced(
            [self.questions[i] for i in index],
            self.latent_inputs[index],
            self.hidden_states[index],
            [self.answers[i] for i in index],
            self.active[index],
        )

    @property
    def usable(self) -> list[int]:
        """Rows that can lose an answer: they state one, and at least one thought is causally active.

        Take these before `kept_all`. A row without an active thought always keeps its answer, and a row
        without an answer never does.
        """
        some = self.active.any(1).tolist()
        return [i for i, answer in enumerate(self.answers) if answer is not None and some[i]]

    def donors(self, seed: int) -> list[int]:
        """For each row another one with a different answer, with the same active thoughts if possible."""
        return donors(self.answers, seed, [tuple(row) for row in self.active.tolist()])


def donors(answers: Sequence[str | None], seed: int, kinds: Sequence[Hashable] | None = None) -> list[int]:
    """For each row another row that states a different answer; an equal answer would hide the effect.

    Args:
        answers: N answers; a row without one is never a donor, and gets any row that states one.
        seed: seed of the draw.
        kinds: N values; a donor of the row's own kind is preferred.

    Raises:
        ValueError: a row has no donor, because all other rows state its answer or none.
    """
    everyone = [i for i, answer in enumerate(answers) if answer is not None]
    random.Random(seed).shuffle(everyone)
    of_kind: dict[Hashable, list[int]] = {}
    if kinds is not None:
        for i in everyone:
            of_kind.setdefault(kinds[i], []).append(i)
    draw = random.Random(f"{seed}/start")
    chosen = []
    for row, answer in enumerate(answers):
        same_kind = [] if kinds is None else of_kind.get(kinds[row], [])
        donor = _first_other(same_kind, answers, answer, draw)
        donor = _first_other(everyone, answers, answer, draw) if donor is None else donor
        if donor is None:
            raise ValueError(f"no row states an answer other than row {row}'s {answer!r}; give more problems")
        chosen.append(donor)
    return chosen


def _first_other(
    rows: Sequence[int], answers: Sequence[str | None], answer: str | None, draw: random.Random
) -> int | None:
    """The first of `rows`, from a random one on and round, whose answer is another one."""
    start = draw.randrange(len(rows)) if rows else 0
    turned = (rows[(start + i) % len(rows)] for i in range(len(rows)))
    return next((row for row in turned if answers[row] != answer), None)
