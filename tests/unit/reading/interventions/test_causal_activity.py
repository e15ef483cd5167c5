from __future__ import annotations

import dataclasses

import pytest
import torch

from reverse_codi.reading.interventions.causal_activity import causal_activity, swapped
from reverse_codi.reading.interventions.traced import Traced
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split, Task
from reverse_codi.utils.log import show_log
from tests.fakes import printed, screen

PAIRS = Arithmetic().minimal_pairs(Split.TRAIN, 60, seed=0)


def test_a_swap_changes_the_later_thoughts_only(sharp: CodiReasoner, traced: Traced) -> None:
    donor = traced.latent_inputs.roll(1, 0)
    chains = swapped(sharp, traced.questions, donor, 1)
    assert torch.equal(chains.latent_inputs[:, 1], donor[:, 1])
    assert torch.allclose(chains.latent_inputs[:, 0], traced.latent_inputs[:, 0], atol=1e-5)
    assert torch.allclose(chains.hidden_states[:, :2], traced.hidden_states[:, :2], atol=1e-5)
    assert not torch.allclose(chains.hidden_states[:, 2], traced.hidden_states[:, 2], atol=1e-2)
    assert not torch.allclose(chains.latent_inputs[:, 2], traced.latent_inputs[:, 2], atol=1e-2)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_a_swap_with_itself_moves_nothing(sharp: CodiReasoner, traced: Traced, k: int) -> None:
    chains = swapped(sharp, traced.questions, traced.latent_inputs, k)
    assert chains.outputs == traced.answers
    assert torch.allclose(chains.hidden_states, traced.hidden_states, atol=1e-4)


def test_pairs_of_the_same_answer_are_left_out(sharp: CodiReasoner, task: Task) -> None:
    assert causal_activity(sharp, task, [(a, a) for a, _ in PAIRS]).active() == set()
    assert causal_activity(sharp, Arithmetic(), PAIRS).swaps == {}  # the untrained model states no answer


def test_values_are_those_of_the_swaps(sharp: CodiReasoner, task: Task) -> None:
    own = sharp.think([a.question for a, _ in PAIRS])
    theirs = sharp.think([b.question for _, b in PAIRS])
    lengths = [len(a.steps) for a, _ in PAIRS]
    rows = [i for i in range(60) if lengths[i] == 2 and own.outputs[i] != theirs.outputs[i]]
    assert rows
    found = causal_activity(sharp, task, PAIRS)
    for k in range(3):
        outputs = swapped(sharp, [PAIRS[i][0].question for i in rows], theirs.latent_inputs[rows], k).outputs
        values = found.swaps[Site("h", k), 2]
        assert values.moved.tolist() == [o != own.outputs[i] for o, i in zip(outputs, rows, strict=True)]
        assert values.to_donor.tolist() == [
            o == theirs.outputs[i] for o, i in zip(outputs, rows, strict=True)
        ]
        assert (values.to_donor <= values.moved).all()


def test_a_bar_shows_how_many_thoughts_were_swapped(sharp: CodiReasoner, task: Task) -> None:
    console = show_log(screen(terminal=True))
    causal_activity(sharp, task, PAIRS[:4])
    assert "swaps" in printed(console) and "3/3" in printed(console)


def test_live_is_a_matter_of_the_share_moved(sharp: CodiReasoner, task: Task) -> None:
    found = causal_activity(sharp, task, PAIRS)
    assert found.active(0) == set(found.swaps)
    assert found.active(0.1) >= found.active(0.5)
    still = {key: dataclasses.replace(v, moved=v.moved * 0) for key, v in found.swaps.items()}
    assert dataclasses.replace(found, swaps=still).active() == set()


def test_thoughts_of_the_embedded_model_are_active() -> None:
    pairs = Arithmetic().minimal_pairs(Split.HELDOUT, 60, seed=0, n_steps=3)
    found = causal_activity(load_reasoner("embedded"), Arithmetic(), pairs)
    assert found.active()
    assert max(values.to_donor.mean() for values in found.swaps.values()) > 0.1
