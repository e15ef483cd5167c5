from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from reverse_codi.cli.soft_text import main
from reverse_codi.evaluation.soft_text import Descent, softened
from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.basis import FeatureBasis
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import ReadSpec
from reverse_codi.utils.log import show_log
from tests.fakes import printed, screen
from tests.tiny import make_problems, make_tiny_metric, make_tiny_reasoner

TEXTS = ["12 + 5 = 17.", "8 - 3 = 5. 5 + 2 = 7.", "6 * 4 = 24."]
SITES = [Site("h", 0), Site("h", 1), Site("h", 0)]


def test_vectors_begin_at_the_words_and_come_nearer_while_the_model_stays() -> None:
    reasoner = make_tiny_reasoner()
    metric = make_tiny_metric(reasoner)
    chains = reasoner.think([problem.question for problem in make_problems(3, seed=5)])
    thoughts = torch.stack([chains.at(site)[row] for row, site in enumerate(SITES)])
    before = reasoner.content_hash

    words = metric.match(thoughts, metric.predict(TEXTS, SITES), SITES)
    begun = softened(reasoner, metric, thoughts, SITES, TEXTS, Descent(steps=0))
    console = show_log(screen(terminal=True))
    moved = softened(reasoner, metric, thoughts, SITES, TEXTS, Descent(steps=30))
    assert "soft texts" in printed(console) and "93/93" in printed(console)  # 31 readings of 3 texts

    assert begun.tolist() == pytest.approx(words.tolist(), abs=1e-3)
    assert bool((moved > begun).all())
    assert reasoner.content_hash == before
    assert all(weight.grad is None for weight in reasoner.lm.parameters())


def test_states_are_projected_as_those_of_texts_are() -> None:
    """Maps of public checkpoints have a basis; the soft text's features were taken without it."""
    reasoner = make_tiny_reasoner()
    texts = [problem.claims[-1] for problem in make_problems(64)]
    whole = Reader(reasoner, ReadSpec()).features(texts)
    basis = FeatureBasis.fit(whole.unflatten(1, (-1, reasoner.width)), rank=8)
    reader = Reader(reasoner, ReadSpec(), basis)
    chains = reasoner.think([problem.question for problem in make_problems(64)])
    site = SITES[0]
    metric = ThoughtMetric(reader, {site: AffineMap.fit(reader.features(texts), chains.at(site), 0.1)})

    thoughts = chains.at(site)[:3]
    words = metric.match(thoughts, metric.predict(TEXTS, [site] * 3), [site] * 3)
    begun = softened(reasoner, metric, thoughts, [site] * 3, TEXTS, Descent(steps=0))
    moved = softened(reasoner, metric, thoughts, [site] * 3, TEXTS, Descent(steps=10))
    assert begun.tolist() == pytest.approx(words.tolist(), abs=1e-3)
    assert bool((moved > begun).all())


def test_the_verb_bounds_the_embedded_verbalizers_match(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["embedded", "--n", "8", "--steps", "2", "--out", str(tmp_path)])
    shown = capsys.readouterr().out
    match = {name: float(value) for name, value in re.findall(r"^([^\d\n]+?) +(-?[\d.]+) \[", shown, re.M)}
    assert match["soft text, begun at the gold claim"] >= match["gold claim"] > match["constant"]
    assert match["soft text, begun at the constant"] > match["constant"]
