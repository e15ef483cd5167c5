from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.recipe.reasoner import ReasonerSection
from reverse_codi.utils.config import UserError
from reverse_codi.verbalize.lens_claims import lens_claims
from tests.tiny import make_tiny_traces


def test_most_steps_of_the_embedded_reasoner_are_found_without_labels(tmp_path: Path) -> None:
    reasoner = load_reasoner(ReasonerSection())
    traces = make_tiny_traces(reasoner, tmp_path, 60)
    claims = lens_claims(reasoner, traces)
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
        lens_claims(tiny_reasoner, traces)
