from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reverse_codi import Verbalizer
from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import ANSWER
from reverse_codi.verbalize.translations.reference_texts import (
    FILE,
    keep_reference_texts,
    kept_reference_texts,
    reference_texts,
)
from reverse_codi.verbalize.translator import Translator

SHORT = 6


class Counted(Translator):
    """Counts its calls."""

    calls = 0

    def greedy(self, slots: Tensor) -> list[str]:
        self.calls += 1
        return super().greedy(slots)


@pytest.fixture
def translator(
    tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tiny_verbalizer: Path, tmp_path: Path
) -> Counted:
    shutil.copytree(tiny_verbalizer, tmp_path / "verbalizer")
    return Counted(tiny_reasoner, tmp_path / "verbalizer", SHORT)


def test_the_references_of_all_sites_are_translated_at_once(
    translator: Counted, tiny_metric: ThoughtMetric
) -> None:
    texts = reference_texts(translator, tiny_metric)
    assert translator.calls == 1
    assert list(texts) == tiny_metric.sites
    for site, of_site in texts.items():
        states = tiny_metric.map_of(site).reference[:64]
        assert of_site == translator.greedy(translator.reasoner.project(states)[:, None])


def test_kept_texts_are_not_written_again(translator: Counted, tiny_metric: ThoughtMetric) -> None:
    keep_reference_texts(translator, tiny_metric)
    before = translator.calls
    assert kept_reference_texts(translator, tiny_metric) == reference_texts(translator, tiny_metric)
    assert translator.calls == before + 1  # the line above, not the kept ones
    verbalizer = Verbalizer(translator, tiny_metric)
    verbalizer.translate("Ann has 12 apples and buys 5 more.")
    verbalizer.translate("Ann has 12 apples and buys 5 more.")
    assert translator.calls == before + 1 + 2  # all sites of a question together


def test_texts_of_something_else_are_written_anew(translator: Counted, tiny_metric: ThoughtMetric) -> None:
    """Of other references, of another adapter, or of another length."""
    keep_reference_texts(translator, tiny_metric)
    site = tiny_metric.sites[0]
    map_ = tiny_metric.map_of(site)
    other = ThoughtMetric(
        tiny_metric.reader,
        {site: AffineMap(map_.weight, map_.bias, map_.mean, map_.whitener, map_.reference.flip(0))},
    )
    assert kept_reference_texts(translator, other) == reference_texts(translator, other)

    planted = ["planted"] * 64
    file = translator.folder / FILE
    kept = json.loads(file.read_text())
    kept["texts"] = {str(site): planted for site in tiny_metric.sites}
    file.write_text(json.dumps(kept))
    (translator.folder / "checksums.json").unlink()
    assert kept_reference_texts(translator, tiny_metric)[site] == planted
    longer = Counted(translator.reasoner, translator.folder, SHORT + 1)
    assert kept_reference_texts(longer, tiny_metric)[site] != planted
    weights = translator.folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))
    assert kept_reference_texts(translator, tiny_metric)[site] != planted


def test_whole_traces_have_no_references(translator: Counted, tiny_metric: ThoughtMetric) -> None:
    features = torch.randn(40, 8)
    metric = ThoughtMetric(tiny_metric.reader, {ANSWER: AffineMap.fit(features, torch.randn(40, 32), 0.1)})
    assert reference_texts(translator, metric) == {}
    assert translator.calls == 0
