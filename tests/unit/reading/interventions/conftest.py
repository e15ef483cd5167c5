"""An untrained reasoner whose outputs differ, with a task for which every output is an answer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from reverse_codi.reading.interventions.traced import Traced
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.tasks.base import Problem, Split, Task
from tests.tiny import make_problems, make_sharp_reasoner


class Verbatim:
    """Takes the whole output for the answer."""

    def problems(self, split: Split, n: int, seed: int) -> Sequence[Problem]:
        return make_problems(n, seed, split)

    def extract_answer(self, text: str, cue: str) -> str | None:
        return text


@pytest.fixture(scope="session")
def task() -> Task:
    return Verbatim()


@pytest.fixture(scope="session")
def sharp() -> CodiReasoner:
    return make_sharp_reasoner()


@pytest.fixture(scope="session")
def traced(sharp: CodiReasoner) -> Traced:
    """40 problems with every thought causally active."""
    questions = [p.question for p in make_problems(40)]
    chains = sharp.think(questions)
    active = torch.ones(chains.latent_inputs.shape[:2], dtype=torch.bool)
    return Traced(questions, chains.latent_inputs, chains.hidden_states, list(chains.outputs), active)
