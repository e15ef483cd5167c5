from __future__ import annotations

import doctest
from pathlib import Path

import pytest
import torch

from reverse_codi.reasoners.sites import Site
from reverse_codi.traces.imports import import_arrays
from reverse_codi.verbalize import targets
from reverse_codi.verbalize.targets import nearest_texts, prefixes, with_answer, written_claims
from tests.tiny import make_table_metric


def test_every_run_of_claims_shortest_first() -> None:
    assert prefixes(["a", "b", "c"]) == ["a.", "b.", "c.", "a. b.", "b. c.", "a. b. c."]
    assert prefixes([]) == []


def test_written_claims_are_parsed_in_order() -> None:
    texts = ["12 + 5 = 17. 17*2=34. The answer is: 34", "who knows"]
    assert written_claims(texts) == [["12 + 5 = 17", "17 * 2 = 34"], []]


def test_doctests() -> None:
    assert doctest.testmod(targets).failed == 0


@pytest.mark.parametrize(
    ("claims", "answer", "wanted"),
    [
        (["12 + 5 = 17"], "18", ["12 + 5 = 18"]),
        (["12 + 5 = 17", "17 * 2 = 34"], "34", ["12 + 5 = 17", "17 * 2 = 34"]),
        (["2 * (3 + 4) = 14"], "0.5", ["2 * (3 + 4) = 0.5"]),
        (["5 - 9 = -4"], "-5", ["5 - 9 = -5"]),
        (["12 + 5 = 17"], None, ["12 + 5 = 17"]),
        ([], "18", []),
    ],
)
def test_the_answer_stands_in_the_last_claim(
    claims: list[str], answer: str | None, wanted: list[str]
) -> None:
    before = list(claims)
    assert with_answer(claims, answer) == wanted
    assert claims == before  # the caller's list stays


def test_the_nearest_candidate_wins_among_its_own_traces_only(tmp_path: Path) -> None:
    site = Site("h", 0)
    metric = make_table_metric({"x": [1.0, 0.0], "y": [0.0, 1.0], "both": [1.0, 1.0]}, site)
    thoughts = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.9, 0.8], [0.9, 0.1]])
    traces = import_arrays(
        tmp_path / "traces",
        {
            "hidden_states": thoughts[:, None].repeat(1, 2, 1).numpy(),
            "latent_inputs": thoughts[:, None].numpy(),
        },
        {"questions": ["?"] * 4, "reasoner_hash": "constructed"},
    )
    candidates = [["y", "x", "both"], ["x", "y"], ["x", "y", "both"], ["y"]]
    assert nearest_texts(traces, site, candidates, metric) == ["x", "y", "both", "y"]
    # The third's first choice is left, by .06 of match; the first's is right; the second's is no candidate.
    first = ["x", "both", "y", "y"]
    assert nearest_texts(traces, site, candidates, metric, first) == ["x", "y", "both", "y"]
    near = make_table_metric({"x": [0.9, 0.1], "y": [0.91, 0.1], "both": [1.0, 1.0]}, site)
    assert nearest_texts(traces, site, [["x", "y"]] * 4, near, ["y", "x", "x", "y"]) == ["y", "x", "x", "y"]
