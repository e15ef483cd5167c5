from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.basis import MOST_FEATURES, FeatureBasis, fit_bytes, largest_fit, rank_within
from reverse_codi.reading.fit import fit_metric
from reverse_codi.reading.metric import MAPS_FILE, ThoughtMetric
from reverse_codi.reading.reader import Reader
from reverse_codi.reading.shared import SharedReader
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import ReadSpec
from reverse_codi.traces.store import TraceStore
from tests.fakes import WatchedReasoner
from tests.tiny import make_encoded, make_tiny_traces

GIB = 2**30
SITES = [Site("h", 0), Site("h", 1)]
TEXTS = ["12 + 5 = 17.", "(no step)", "8 - 3 = 5."]


def states(n: int, blocks: int, width: int) -> torch.Tensor:
    """Correlated within a block, of very different scales, as a language model's are."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(n, blocks, width, generator=generator) @ torch.randn(
        width, width, generator=generator
    )
    return mixed * torch.logspace(-2, 3, width) + 5


def test_of_full_rank_it_loses_nothing() -> None:
    x = states(200, 3, 6)
    y = x.flatten(1) @ torch.randn(18, 4, generator=torch.Generator().manual_seed(1)) / 100
    y = y + torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    basis = FeatureBasis.fit(x, 6)
    whole = AffineMap.fit(x.flatten(1), y, 1.0)
    projected = AffineMap.fit(basis(x), y, 1.0, standardized=True)
    expected = whole.predict(x.flatten(1))
    # Directions are rounded to half precision, which a map fitted on them makes up for.
    torch.testing.assert_close(projected.predict(basis(x)), expected, rtol=1e-3, atol=1e-3)


def test_it_keeps_the_directions_that_vary_most_of_standardized_states() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(500, 2, generator=generator)
    x = hidden @ torch.randn(2, 8, generator=generator) * torch.logspace(-3, 3, 8)
    x = (x + 1e-3 * x.std(0) * torch.randn(500, 8, generator=generator))[:, None]
    features = FeatureBasis.fit(x, 2)(x)
    assert features.shape == (500, 2)
    # Both hidden causes can be told from two directions.
    hidden = hidden - hidden.mean(0)
    solved = torch.linalg.lstsq(features, hidden).solution
    assert (features @ solved - hidden).square().mean() < 1e-3


def test_a_dimension_that_never_varies_says_nothing() -> None:
    x = states(50, 1, 4)
    x[:, 0, 2] = 7
    features = FeatureBasis.fit(x, 3)(x)
    assert features.isfinite().all() and features.abs().max() < 20


@pytest.mark.parametrize(
    ("n_rows", "blocks", "width"), [(7_000, 68, 2_048), (7_000, 52, 768), (30_000, 68, 2_048), (500, 52, 768)]
)
@pytest.mark.parametrize("memory", [1 * GIB, 4 * GIB, 16 * GIB])
def test_a_fit_stays_within_its_memory(n_rows: int, blocks: int, width: int, memory: float) -> None:
    rank = rank_within(n_rows, blocks, width, memory)
    features = blocks * (width if rank is None else rank)
    assert features <= MOST_FEATURES
    assert fit_bytes(n_rows, features) <= memory or rank == 1
    assert rank is None or blocks * (rank + 1) > min(largest_fit(n_rows, memory), MOST_FEATURES)


def test_a_site_at_llama_1bs_width_takes_less_than_64_mib(
    tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    width, blocks = 2_048, 4 * 17
    rank = rank_within(7_000, blocks, width, 4 * GIB)
    assert rank is not None
    generator = torch.Generator().manual_seed(0)
    shapes = ((blocks * rank, width), (width,), (width,), (width, width), (128, width))
    map_ = AffineMap(*(torch.randn(shape, generator=generator) for shape in shapes))
    ThoughtMetric(Reader(tiny_reasoner, ReadSpec()), {SITES[0]: map_}).save(tmp_path)
    assert (tmp_path / MAPS_FILE).stat().st_size < 64 * 2**20


def test_the_embedded_reasoner_needs_no_basis() -> None:
    assert rank_within(30_000, 4 * 3, 160, 4 * GIB) is None


@pytest.fixture
def traces(tiny_reasoner: CodiReasoner, tmp_path: Path) -> TraceStore:
    return make_tiny_traces(tiny_reasoner, tmp_path / "traces", 64)


def fitted(reasoner: CodiReasoner, traces: TraceStore, memory_gib: float) -> ThoughtMetric:
    encoded = make_encoded(reasoner.n_thoughts)
    return fit_metric(Reader(reasoner, ReadSpec()), SITES, encoded, traces, traces.claims, 0, memory_gib)


def test_little_memory_makes_a_basis_that_is_saved_with_the_maps(
    tiny_reasoner: CodiReasoner, traces: TraceStore, tmp_path: Path
) -> None:
    assert fitted(tiny_reasoner, traces, 4).reader.basis is None
    metric = fitted(tiny_reasoner, traces, 3e-4)
    assert metric.reader.basis is not None
    assert metric.reader.features(TEXTS).shape == (3, metric.reader.basis.n_features)
    assert metric.reader.basis.n_features < 4 * 3 * tiny_reasoner.width
    metric.save(tmp_path)
    loaded = ThoughtMetric.load(tmp_path, tiny_reasoner)
    assert loaded.sites == SITES
    torch.testing.assert_close(
        loaded.predict(TEXTS, [SITES[0]] * 3), metric.predict(TEXTS, [SITES[0]] * 3), rtol=1e-2, atol=1e-2
    )
    whole = tmp_path / "whole"
    fitted(tiny_reasoner, traces, 4).save(whole)
    assert (tmp_path / MAPS_FILE).stat().st_size < (whole / MAPS_FILE).stat().st_size


def test_rewards_get_whole_layers_beside_projected_features(
    tiny_reasoner: CodiReasoner, traces: TraceStore
) -> None:
    reader = fitted(tiny_reasoner, traces, 3e-4).reader
    counting = WatchedReasoner(tiny_reasoner)
    shared = SharedReader(Reader(counting, reader.spec, reader.basis), ["1"])
    torch.testing.assert_close(shared.features(TEXTS), reader.features(TEXTS))
    alone = Reader(tiny_reasoner, reader.spec.model_copy(update={"layers": "1"})).features(TEXTS)
    assert list(shared.layers(TEXTS)) == [1]
    torch.testing.assert_close(shared.layers(TEXTS)[1].flatten(1), alone)
    assert sorted(counting.texts) == sorted(TEXTS)
