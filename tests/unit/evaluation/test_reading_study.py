from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from reverse_codi.evaluation.reading_study import Study, StudyRow, choose
from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.fit import retrieval
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import Map, Point, Prefix, ReadSpec
from reverse_codi.tasks.equations import parse_equations
from reverse_codi.traces.imports import import_arrays
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.log import hide_log, show_log
from tests.fakes import printed, screen
from tests.tiny import make_problems

SITE, WIDTH = Site("h", 0), 12


class Constructed:
    """Reads a text as its first claim: four random numbers each for operand, operator and result."""

    def read(
        self, texts: Sequence[str], questions: Sequence[str] | None = None, suffix: str = ""
    ) -> list[Tensor]:
        return [self.state(text)[None, None] for text in texts]

    @staticmethod
    def state(text: str) -> Tensor:
        """[WIDTH], zeros where no claim is stated."""
        found = parse_equations(text)
        if not found:
            return torch.zeros(WIDTH)
        words = (found[0].operands[0], found[0].operators[0], found[0].result)
        seeds = [zlib.crc32(f"{place} {word}".encode()) for place, word in enumerate(words)]
        return torch.cat([torch.randn(4, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def make_store(folder: Path, seed: int, n: int) -> TraceStore:
    problems = make_problems(n, seed)
    mix = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0))
    thoughts = torch.stack([Constructed.state(f"{p.claims[0]}.") for p in problems]) @ mix
    thoughts = thoughts + 0.1 * torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed))
    return import_arrays(
        folder,
        {
            "hidden_states": thoughts[:, None].repeat(1, 2, 1).numpy(),
            "latent_inputs": thoughts[:, None].numpy(),
        },
        {
            "questions": [p.question for p in problems],
            "claims": [p.claims for p in problems],
            "reasoner_hash": "constructed",
        },
    )


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[StudyRow]:
    root = tmp_path_factory.mktemp("study")
    train, test = make_store(root / "train", 1, 600), make_store(root / "test", 2, 200)
    encoded = EncodedSteps({(SITE, n): [1.0] + [0.0] * (n - 1) for n in range(1, 5)}, 0.5)
    specs = [
        ReadSpec(point=Point.LAST, map=Map.IDENTITY, layers="final"),
        ReadSpec(point=Point.LAST, ridge=0.1),
    ]
    study = Study(Constructed(), [SITE], encoded, train, test)  # type: ignore[arg-type]
    console = show_log(screen(terminal=True))
    made = study.every(specs, train.claims, framed=0)
    assert "ways of reading" in printed(console) and "2/2" in printed(console)
    hide_log()
    return made


def test_gold_wins_where_the_reading_is_right(rows: list[StudyRow]) -> None:
    affine = rows[1]
    assert affine.match["gold"].value > 0.95
    assert affine.retrieval["gold"] > 0.8  # some of 64 problems share their claim
    assert affine.margin.low > 0.1
    assert affine.match["empty"].value < 0.5
    assert affine.retrieval["empty"] == affine.retrieval["constant"] == 0
    best = affine.match[affine.best_negative].value
    assert affine.margin.value == pytest.approx(affine.match["gold"].value - best)
    assert affine.match["gold"].n == 200


def test_the_chosen_reading_is_the_one_with_the_larger_margin(rows: list[StudyRow]) -> None:
    identity, affine = rows
    assert affine.margin.value > identity.margin.value
    assert choose(rows) == affine.spec


def test_choose_averages_over_sites() -> None:
    def row(spec: ReadSpec, k: int, margin: float) -> StudyRow:
        return StudyRow(spec, Site("h", k), {}, {}, "empty", Interval(margin, margin, margin, 1))

    even, uneven = ReadSpec(ridge=1), ReadSpec(prefix=Prefix.QUESTION)
    given = [row(even, 0, 0.3), row(even, 1, 0.3), row(uneven, 0, 0.5), row(uneven, 1, 0.0)]
    assert choose(given) == even


def test_retrieval_counts_own_texts_that_are_nearest() -> None:
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(128, 8))).float()
    map_ = AffineMap(torch.eye(8), torch.zeros(8), torch.zeros(8), torch.eye(8), torch.zeros(0, 8))
    assert retrieval(map_, points, points) == 1.0
    assert retrieval(map_, points, torch.zeros(128, 8)) == 0.0
    half = torch.where((torch.arange(128) < 64)[:, None], points, points.roll(1, 0))
    assert retrieval(map_, points, half) == 0.5


def test_a_margin_that_is_no_number_is_never_the_best() -> None:
    def row(spec: ReadSpec, margin: float) -> StudyRow:
        interval = Interval(margin, margin, margin, 9)
        return StudyRow(spec, SITE, {}, {}, "", interval)

    broken, poor, good = ReadSpec(ridge=1.0), ReadSpec(ridge=2.0), ReadSpec(ridge=3.0)
    rows = [row(broken, float("nan")), row(poor, -0.5), row(good, 0.25)]
    assert choose(rows) == choose(rows[::-1]) == good
