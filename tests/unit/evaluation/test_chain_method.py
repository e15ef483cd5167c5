from __future__ import annotations

import torch
from torch import Tensor

from reverse_codi.evaluation.chain_method import ChainMethod
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.thoughts import thought_sites, thoughts_of
from tests.tiny import make_encoded

SITES = thought_sites(3)


def test_each_thought_gets_the_claims_of_its_traces_text_that_its_site_holds(tiny_traces: TraceStore) -> None:
    traces = tiny_traces.select(range(5))
    thoughts = thoughts_of(traces, SITES, make_encoded(3))
    given: list[Tensor] = []

    def chains(latent_inputs: Tensor) -> list[str]:
        given.append(latent_inputs)
        return [" ".join(f"{claim}." for claim in claims) for claims in traces.claims]

    method = ChainMethod(chains, make_encoded(3), SITES)
    assert method(thoughts) == thoughts.gold
    assert torch.equal(given[0], traces.latent_inputs)
    # In another order each still gets its own.
    order = [7, 3, 14, 0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13]
    traces = traces.select([2, 1, 4, 0, 3])  # problems as they first occur
    assert method(thoughts.take(order)) == [thoughts.gold[row] for row in order]
    assert torch.equal(given[1], traces.latent_inputs)


def test_a_thought_without_the_others_of_its_trace_has_no_text(tiny_traces: TraceStore) -> None:
    thoughts = thoughts_of(tiny_traces.select(range(2)), SITES, make_encoded(3))
    method = ChainMethod(lambda latent_inputs: ["1 + 1 = 2."] * len(latent_inputs), make_encoded(3), SITES)
    texts = method(thoughts.take([0, 3, 4, 5]))
    assert texts[0] == "" and texts[1] == "1 + 1 = 2."
    assert method(thoughts.take([1, 4])) == ["", ""]
