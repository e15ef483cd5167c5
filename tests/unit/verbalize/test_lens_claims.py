from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.errors import UserError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.recipe.reasoner import ReasonerSection
from reverse_codi.verbalize import lens_claims as module
from reverse_codi.verbalize.lens_claims import lens_claims
from reverse_codi.verbalize.lens_search import Found, lens_search
from reverse_codi.verbalize.thoughts import Thoughts
from tests.tiny import make_tiny_traces


def test_most_steps_of_the_embedded_reasoner_are_found_without_labels(tmp_path: Path) -> None:
    reasoner = load_reasoner(ReasonerSection())
    traces = make_tiny_traces(reasoner, tmp_path, 60)
    claims = lens_claims(reasoner, traces, tmp_path)
    assert [len(found) <= len(gold) for found, gold in zip(claims, traces.claims, strict=True)].count(
        False
    ) < 3
    steps = [(found[:k + 1], gold[:k + 1]) for found, gold in zip(claims, traces.claims, strict=True)
             for k in range(len(gold))]  # fmt: skip
    assert sum(found == gold for found, gold in steps) / len(steps) > 0.8


def test_a_reasoner_that_has_learnt_nothing_names_no_step(
    tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    traces = make_tiny_traces(tiny_reasoner, tmp_path, 8)
    with pytest.raises(UserError, match="finds no step in any of 8 traces"):
        lens_claims(tiny_reasoner, traces, tmp_path)


def test_what_the_lens_found_is_not_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reasoner = load_reasoner(ReasonerSection())
    traces = make_tiny_traces(reasoner, tmp_path, 12)
    claims = lens_claims(reasoner, traces.select(range(8)), tmp_path)
    asked: list[int] = []

    def counting(reasoner: CodiReasoner, thoughts: Thoughts) -> list[Found]:
        asked.append(len(set(thoughts.problems)))
        return lens_search(reasoner, thoughts)

    monkeypatch.setattr(module, "lens_search", counting)
    everything = lens_claims(reasoner, traces, tmp_path)
    assert everything[:8] == claims
    assert asked == [4]
    assert lens_claims(reasoner, traces, tmp_path) == everything
    assert asked == [4]
    with pytest.raises(UserError, match=r"lens_steps\.json has other questions .*delete it"):
        lens_claims(reasoner, traces.select(reversed(range(12))), tmp_path)
