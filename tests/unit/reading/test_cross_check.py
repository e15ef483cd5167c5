from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from reverse_codi.evaluation.planted import plant, problems_of
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.cross_check import SiteCheck, cross_check, report
from reverse_codi.reading.fit import fit_metric
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.schema import Recipe
from reverse_codi.traces.imports import import_arrays
from reverse_codi.traces.store import TraceStore
from tests.tiny import make_tiny_reasoner

H0, H1 = Site("h", 0), Site("h", 1)


def without_content(store: TraceStore, folder: Path) -> TraceStore:
    """The same traces with noise for thoughts."""
    hidden = torch.randn(store.hidden_states.shape, generator=torch.Generator().manual_seed(5)).numpy()
    arrays = {"hidden_states": hidden, "latent_inputs": hidden[:, :-1]}
    columns = {"questions": store.questions, "claims": store.claims, "reasoner_hash": "none"}
    return import_arrays(folder, arrays, columns)


def test_planted_thoughts_are_told_apart_and_noise_is_not(tmp_path: Path) -> None:
    reasoner = make_tiny_reasoner(n_thoughts=2, hidden=64, layers=1)
    recipe = Recipe.model_validate({"trace": {"n": 400, "n_heldout": 160}})
    planted = plant(recipe, reasoner, problems_of(recipe, 400, 160), tmp_path, noise=0.2)
    # h0 holds step 1; h1 holds nothing, and probes are said to read a step there.
    encoded = EncodedSteps(
        {(site, n): [1.0] + [0.0] * (n - 1) for site in (H0, H1) for n in range(1, 5)}, 0.6
    )
    reader, train = Reader(reasoner, recipe.reading.spec), planted.train
    metric = fit_metric(reader, [H0, H1], encoded, train, train.claims)
    held, empty = cross_check(metric, encoded, planted.heldout)
    assert (held.site, empty.site) == (H0, H1)
    assert held.retrieval > 0.9 and held.match > 0.5 and held.n >= 64
    assert empty.match <= 0.05 and empty.retrieval < 0.1
    noise = without_content(planted.heldout, tmp_path / "noise")
    assert cross_check(metric, encoded, noise)[0].retrieval < 0.1


def test_a_map_that_tells_nothing_apart_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="reverse_codi"):
        report([SiteCheck(H0, 128, 0.9, 0.7), SiteCheck(H1, 128, 0.02, -0.4)])
    assert "h0: the own text of 128 held-out thoughts is the nearest of 64 for 0.90" in caplog.text
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.getMessage().startswith("h1: probes read a step there, but its map finds no")
