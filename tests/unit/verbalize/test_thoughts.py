from __future__ import annotations

import pytest
import torch

from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.recipe.reading import Target
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.thoughts import target_sites, thought_sites, thoughts_of
from tests.tiny import make_encoded


def test_the_last_hidden_state_is_no_thought() -> None:
    assert [str(site) for site in thought_sites(3)] == ["h0", "h1", "h2"]


def test_every_thought_has_its_own_vectors_and_gold_text(tiny_traces: TraceStore) -> None:
    thoughts = thoughts_of(tiny_traces, thought_sites(3), make_encoded(3))
    assert len(thoughts) == 3 * len(tiny_traces)
    for row in (0, 1, 2, 301, 599):
        problem, k = divmod(row, 3)
        site = Site("h", k)
        assert (thoughts.problems[row], thoughts.sites[row]) == (problem, site)
        assert torch.equal(thoughts.targets[row], tiny_traces.vectors(site)[problem])
        assert torch.equal(thoughts.slots[row, 0], tiny_traces.vectors(Site("z", k))[problem])
        assert thoughts.questions[row] == tiny_traces.questions[problem]
        claims = tiny_traces.claims[problem]
        said = claims[2:][-1:] if k == 2 else claims[k : k + 1]  # step 4 says step 3's result
        assert thoughts.gold[row] == (" ".join(f"{c}." for c in said) or "(no step)")


def test_live_only_leaves_out_thoughts_that_hold_nothing(tiny_traces: TraceStore) -> None:
    active = thoughts_of(tiny_traces, thought_sites(3), make_encoded(3), active_only=True)
    assert len(active) == sum(min(3, len(claims)) for claims in tiny_traces.claims)
    assert "(no step)" not in active.gold


def test_the_answer_has_all_thoughts_as_slots_and_the_whole_chain_as_text(
    tiny_reasoner: CodiReasoner, tiny_traces: TraceStore
) -> None:
    traces = tiny_traces.select(range(20)).with_answer_states(tiny_reasoner)
    assert target_sites(Target.ANSWER, 3) == [ANSWER]
    answers = thoughts_of(traces, [ANSWER], make_encoded(3), active_only=True)
    assert torch.equal(answers.slots, traces.latent_inputs)
    # The stored thoughts are fed, where the model would work them out again: rounding may differ.
    assert torch.allclose(answers.targets, tiny_reasoner.answer_states(traces.questions), atol=1e-5)
    assert answers.gold == [" ".join(f"{c}." for c in claims) for claims in traces.claims]


def test_nothing_encoded_at_all_is_an_error_that_says_what_to_do(tiny_traces: TraceStore) -> None:
    with pytest.raises(ValueError, match=r"raise trace\.n"):
        thoughts_of(tiny_traces, thought_sites(3), EncodedSteps({}, 0.5), active_only=True)
