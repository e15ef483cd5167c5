from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from reverse_codi.errors import UserError
from reverse_codi.reading.metric import MetricError, ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import Point, ReadSpec
from tests.tiny import make_problems, make_tiny_metric, make_tiny_reasoner

SITES = [Site("h", 2), Site("h", 0), Site("h", 2)]
TEXTS = ["12 + 5 = 17.", "(no step)", "8 - 3 = 5."]


def test_each_row_goes_by_its_own_sites_map(tiny_metric: ThoughtMetric) -> None:
    features = tiny_metric.reader.features(TEXTS)
    predicted = tiny_metric.predict(TEXTS, SITES)
    for row, site in enumerate(SITES):
        torch.testing.assert_close(predicted[row], tiny_metric.map_of(site).predict(features[row]))


def test_match_agrees_with_the_maps(tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric) -> None:
    chains = tiny_reasoner.think([p.question for p in make_problems(3)])
    thoughts = torch.stack([chains.at(site)[i] for i, site in enumerate(SITES)])
    predicted = tiny_metric.predict(TEXTS, SITES)
    match = tiny_metric.match(thoughts, predicted, SITES)
    for row, site in enumerate(SITES):
        torch.testing.assert_close(match[row], tiny_metric.map_of(site).match(thoughts[row], predicted[row]))
    torch.testing.assert_close(tiny_metric.match(thoughts, thoughts, SITES), torch.ones(3))


def test_saved_and_loaded_it_reads_the_same(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    spec = ReadSpec(point=Point.MEAN, ridge=2.5)
    metric = make_tiny_metric(tiny_reasoner, spec)
    metric.save(tmp_path)
    loaded = ThoughtMetric.load(tmp_path, tiny_reasoner)
    assert loaded.reader.spec == spec
    assert loaded.sites == metric.sites
    for site in metric.sites:
        for name, value in vars(metric.map_of(site)).items():
            torch.testing.assert_close(getattr(loaded.map_of(site), name), value, atol=2e-3, rtol=2e-3)
    assert {path.name for path in tmp_path.iterdir()} == {"maps.safetensors", "checksums.json"}


def test_what_half_precision_cannot_hold_is_saved_whole(
    tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric, tmp_path: Path
) -> None:
    """As of maps of fewer traces than features, which leave no residual: their distances would be NaN."""
    maps = {
        site: replace(tiny_metric.map_of(site), whitener=scale * torch.eye(32))
        for site, scale in ((Site("h", 0), 3.7e6), (Site("h", 1), 3.7e-7), (Site("h", 2), 3.7))
    }
    ThoughtMetric(tiny_metric.reader, maps).save(tmp_path)
    loaded = ThoughtMetric.load(tmp_path, tiny_reasoner)
    for site, fitted in maps.items():
        torch.testing.assert_close(loaded.map_of(site).whitener, fitted.whitener, atol=0, rtol=1e-3)
    thoughts = tiny_reasoner.think([p.question for p in make_problems(1)]).hidden_states[0, :3]
    sites = list(maps)
    match = loaded.match(thoughts, loaded.predict(TEXTS, sites), sites)
    wanted = tiny_metric.predict(TEXTS, sites)
    torch.testing.assert_close(
        match, ThoughtMetric(tiny_metric.reader, maps).match(thoughts, wanted, sites), atol=1e-2, rtol=1e-2
    )
    with safe_open(tmp_path / "maps.safetensors", framework="pt") as file:
        kinds = [str(file.get_slice(f"h{k}/whitener").get_dtype()) for k in range(3)]
    assert kinds == ["F32", "F32", "F16"]


def test_another_reasoners_maps_are_refused_with_both_hashes(
    tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric, tmp_path: Path
) -> None:
    tiny_metric.save(tmp_path)
    other = make_tiny_reasoner(seed=1)
    with pytest.raises(MetricError) as caught:
        ThoughtMetric.load(tmp_path, other)
    assert tiny_reasoner.content_hash in str(caught.value)
    assert other.content_hash in str(caught.value)


def test_an_unknown_site_lists_the_known_ones(tiny_metric: ThoughtMetric) -> None:
    with pytest.raises(KeyError, match="no map for site h9; there is one for h0, h1, h2"):
        tiny_metric.predict(TEXTS[:1], [Site("h", 9)])


def test_missing_maps_are_named(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"maps\.safetensors is missing"):
        ThoughtMetric.load(tmp_path, tiny_reasoner)


def test_maps_that_are_not_finite_are_neither_written_nor_read(
    tiny_metric: ThoughtMetric, tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    site = Site("h", 1)
    whole = tiny_metric.map_of(site)
    broken = ThoughtMetric(
        tiny_metric.reader,
        {**tiny_metric.maps, site: replace(whole, bias=torch.full_like(whole.bias, torch.nan))},
    )
    with pytest.raises(MetricError, match=r"fitting: bias of the map of h1 holds values that are not finite"):
        broken.save(tmp_path)
    assert not (tmp_path / "maps.safetensors").exists()
    tiny_metric.save(tmp_path)
    with safe_open(tmp_path / "maps.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    tensors["h1/mean"][0] = torch.inf
    save_file(tensors, tmp_path / "maps.safetensors", metadata=metadata)
    (tmp_path / "checksums.json").unlink()
    with pytest.raises(MetricError, match=r"maps\.safetensors: mean of the map of h1"):
        ThoughtMetric.load(tmp_path, tiny_reasoner)


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("h0/weight", (5,), "weight of the map of h0 has shape"),
        ("h1/whitener", (32, 31), r"whitener of the map of h1 has shape \(32, 31\), not \(32, 32\)"),
        ("h0/mean", (31,), r"mean of the map of h0 has shape \(31,\), not \(32,\)"),
        ("h0/more", (1,), "is cut or damaged"),
        ("nowhere/weight", (1,), "is cut or damaged"),
    ],
)
def test_maps_of_another_shape_are_named(
    tiny_folders: tuple[Path, Path],
    tiny_reasoner: CodiReasoner,
    tmp_path: Path,
    name: str,
    shape: tuple[int, ...],
    said: str,
) -> None:
    stored = load_file(tiny_folders[1] / "maps.safetensors")
    with safe_open(tiny_folders[1] / "maps.safetensors", "pt") as file:
        metadata = file.metadata()
    save_file(stored | {name: torch.ones(shape)}, tmp_path / "maps.safetensors", metadata=metadata)
    with pytest.raises(UserError, match=rf"maps\.safetensors.*{said}"):
        ThoughtMetric.load(tmp_path, tiny_reasoner)


def test_maps_that_take_other_features_than_the_reading_gives_are_named(
    tiny_folders: tuple[Path, Path], tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    stored = load_file(tiny_folders[1] / "maps.safetensors")
    with safe_open(tiny_folders[1] / "maps.safetensors", "pt") as file:
        metadata = file.metadata()
    cut = {name: part[:-1] if name.endswith("/weight") else part for name, part in stored.items()}
    save_file(cut, tmp_path / "maps.safetensors", metadata=metadata)
    metric = ThoughtMetric.load(tmp_path, tiny_reasoner)
    with pytest.raises(MetricError, match=r"the map of h0 takes \d+ features, the reading gives \d+"):
        metric.predict(["12 + 5 = 17."], [Site("h", 0)])
