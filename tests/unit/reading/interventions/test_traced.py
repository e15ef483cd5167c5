from __future__ import annotations

import dataclasses

import pytest
import torch

from reverse_codi.reading.interventions.traced import Traced, donors
from reverse_codi.reasoners.sites import Site
from reverse_codi.traces.store import TraceStore
from tests.tiny import make_encoded


def test_a_donor_answers_otherwise() -> None:
    answers = ["1", "2", "1", "3", None, "1", "2"] * 5
    chosen = donors(answers, seed=0)
    assert all(answers[j] not in (None, answers[i]) for i, j in enumerate(chosen))
    assert chosen == donors(answers, seed=0) != donors(answers, seed=1)


def test_a_donor_is_of_the_same_kind_where_there_is_one() -> None:
    answers = ["1", "2", "3", "1", "1"]
    kinds = ["a", "a", "b", "b", "c"]
    chosen = donors(answers, 0, kinds)
    assert chosen[:4] == [1, 0, 3, 2]
    assert chosen[4] in (1, 2)  # alone of its kind


def test_no_donor_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="no row states an answer other than row 0's '7'"):
        donors(["7", "7", None], seed=0)


def test_a_thought_is_active_if_it_encodes_a_step_and_moves_the_answer(tiny_traces: TraceStore) -> None:
    traced = Traced.of(tiny_traces, make_encoded(3))
    lengths = torch.tensor([len(claims) for claims in tiny_traces.claims])
    assert torch.equal(traced.active.sum(1), lengths.clamp(max=3))
    moving = {(Site("h", 1), n) for n in range(1, 5)}
    only_second = Traced.of(tiny_traces, make_encoded(3), moving=moving).active
    assert torch.equal(only_second[:, 1], lengths >= 2)
    assert not only_second[:, [0, 2]].any()


def test_take_and_usable(tiny_traces: TraceStore) -> None:
    traced = Traced.of(tiny_traces, make_encoded(3)).take([3, 0, 3])
    assert len(traced) == 3 and traced.questions[0] == tiny_traces.questions[3] == traced.questions[2]
    assert torch.equal(traced.hidden_states[1], tiny_traces.hidden_states[0])
    active = traced.active.clone()
    active[0] = False
    assert dataclasses.replace(traced, answers=["1", None, "2"], active=active).usable == [2]


def test_donors_share_the_active_thoughts_where_possible(tiny_traces: TraceStore) -> None:
    answers = [str(i % 7) for i in range(len(tiny_traces))]
    traced = dataclasses.replace(Traced.of(tiny_traces, make_encoded(3)), answers=answers)
    assert torch.equal(traced.active[traced.donors(seed=0)], traced.active)
