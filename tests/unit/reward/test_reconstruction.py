from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reconstructor import Reconstructor, Scale, saved_at
from reverse_codi.reading.reconstructor_actor import CoTraining, CoTrainingSection, ReasonerParts
from reverse_codi.reading.reconstructor_network import ReconstructorError, ReconstructorSection
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.registry import find
from reward.reconstruction import WORST, Reconstruction
from tests.fakes import FakeReasoner
from tests.tiny import make_batch, make_problems, make_rows, make_table_metric

SITE = Site("h", 1)
FAST = {"rank": 4, "alpha": 8, "learning_rate": 1e-2}


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # another test may have started it


@pytest.fixture(scope="module")
def rows(tiny_reasoner: CodiReasoner) -> Candidates:
    problems = make_problems(24)
    targets = tiny_reasoner.think([p.question for p in problems]).at(SITE)
    return make_rows([p.claims[0] for p in problems], targets, SITE)


def scales(metric: ThoughtMetric) -> dict[Site, Scale]:
    return {site: Scale.of(fitted.reference, fitted.mean) for site, fitted in metric.maps.items()}


def score(function: Any, rows: Candidates, metric: ThoughtMetric) -> tuple[list[float], dict[str, float]]:
    logged: dict[str, float] = {}
    return function(make_batch(rows, metric, logged.__setitem__)), logged


def test_it_scores_before_it_learns_and_rises(tiny_metric: ThoughtMetric, rows: Candidates) -> None:
    function = find("reconstruction", {"reconstructor": FAST}).function
    first, logged = score(function, rows, tiny_metric)
    assert first == pytest.approx([0.0] * len(rows), abs=0.1)  # a new one says the mean
    assert set(logged) == {"fve", "loss"}
    for _ in range(60):
        last, logged = score(function, rows, tiny_metric)
    assert sum(last) / len(last) > 0.5 and logged["fve"] > 0.5
    constant, _ = score(function, make_rows([rows.texts[0]] * len(rows), rows.targets, SITE), tiny_metric)
    assert sum(constant) / len(constant) < 0.1


def test_values_are_the_formula_on_the_weights_before_the_update(
    tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric, rows: Candidates
) -> None:
    function = Reconstruction(CoTrainingSection(reconstructor=ReconstructorSection(**FAST)))
    score(function, rows, tiny_metric)
    assert isinstance(function._training, CoTraining)
    predicted = function._training.reconstructor.predict(rows.texts, rows.sites)
    mean = tiny_metric.map_of(SITE).mean
    ratio = (rows.targets - predicted).square().sum(1) / (rows.targets - mean).square().sum(1)
    values, _ = score(function, rows, tiny_metric)
    assert values == pytest.approx((1 - ratio).clamp(min=WORST).tolist(), abs=1e-5)
    assert function._training.reconstructor.updates == 2


def test_it_is_clipped_at_worst(tiny_metric: ThoughtMetric, rows: Candidates) -> None:
    function = Reconstruction(CoTrainingSection(reconstructor=ReconstructorSection(**FAST)))
    near = tiny_metric.map_of(SITE).mean + 1e-6 * torch.randn(len(rows), rows.targets.shape[1])
    for _ in range(5):
        score(function, rows, tiny_metric)
    values, _ = score(function, make_rows(rows.texts, near, SITE), tiny_metric)
    assert values == [WORST] * len(rows)


def test_only_a_reasoner_with_a_language_model_will_do() -> None:
    metric = make_table_metric({"a": [1.0, 0.0]}, SITE)
    metric.reader.reasoner = FakeReasoner()
    batch = make_batch(make_rows(["a"], torch.ones(1, 2), SITE), metric)
    with pytest.raises(TypeError, match="not of a FakeReasoner's"):
        Reconstruction(CoTrainingSection())(batch)


def test_it_saves_and_goes_on_with_the_newest(
    tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric, rows: Candidates, tmp_path: Path
) -> None:
    folder, out = tmp_path / "folder", tmp_path / "out"
    training = ReconstructorSection(**FAST)
    start = Reconstructor.new(tiny_reasoner, scales(tiny_metric), training)
    start.fit(rows.texts, rows.sites, rows.targets, steps=3, batch_size=8, seed=0)
    start.save(folder)
    section = CoTrainingSection(folder=str(folder), out=str(out), save_every=2, reconstructor=training)

    def made() -> CoTraining:
        return CoTraining(tiny_reasoner, scales(tiny_metric), section)

    first = made()
    assert first.step(rows.texts, rows.sites, rows.targets).updates == 4
    assert saved_at(out) > saved_at(folder)
    first.step(rows.texts, rows.sites, rows.targets)  # the fifth update is not saved
    again = made()
    assert again.reconstructor.updates == 4
    start.save(folder)  # a newer start
    assert made().reconstructor.updates == 3
    with pytest.raises(ReconstructorError, match="has rank 4, not 16"):
        CoTraining(tiny_reasoner, scales(tiny_metric), CoTrainingSection(out=str(out)))


def test_a_start_that_is_missing_is_an_error(tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric) -> None:
    with pytest.raises(FileNotFoundError, match="folder 'nowhere' holds no reconstructor"):
        CoTraining(tiny_reasoner, scales(tiny_metric), CoTrainingSection(folder="nowhere"))


def test_a_reasoner_travels_as_data(tiny_reasoner: CodiReasoner) -> None:
    tiny_reasoner.read(["8 - 3 = 5"])  # now its hooks cannot be pickled
    import ray.cloudpickle

    sent = ray.cloudpickle.loads(ray.cloudpickle.dumps(ReasonerParts.of(tiny_reasoner)))
    built = sent.build("cpu")
    assert built.content_hash == tiny_reasoner.content_hash
    assert torch.equal(built.answer_states(["6 + 6"]), tiny_reasoner.answer_states(["6 + 6"]))
