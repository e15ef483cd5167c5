from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from reverse_codi.reading.reconstructor import FILE, Reconstructor, Scale
from reverse_codi.reading.reconstructor_network import ReconstructorError, ReconstructorSection
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.utils.finite import NotFiniteError
from tests.tiny import make_problems, make_tiny_reasoner

SITES = [Site("h", 1), Site("h", 2)]
SECTION = ReconstructorSection(rank=4, alpha=8, learning_rate=1e-2, batch_size=16)


class Data:
    """Gold claims of 24 problems at two sites."""

    def __init__(self, reasoner: CodiReasoner) -> None:
        problems = make_problems(24)
        chains = reasoner.think([p.question for p in problems])
        self.texts = [p.claims[0] for p in problems] * 2
        self.sites = [site for site in SITES for _ in problems]
        self.targets = torch.cat([chains.at(site) for site in SITES])
        self.scales = {site: Scale.of(chains.at(site)) for site in SITES}

    def explained(self, predicted: Tensor) -> float:
        """Fraction of variance explained."""
        means = torch.stack([self.scales[site].mean for site in self.sites])
        error = (self.targets - predicted).square().sum()
        return (1 - error / (self.targets - means).square().sum()).item()


@pytest.fixture(scope="module")
def data(tiny_reasoner: CodiReasoner) -> Data:
    return Data(tiny_reasoner)


@pytest.fixture
def fresh(tiny_reasoner: CodiReasoner, data: Data) -> Reconstructor:
    return Reconstructor.new(tiny_reasoner, data.scales, SECTION)


@pytest.fixture(scope="module")
def fitted(tiny_reasoner: CodiReasoner, data: Data) -> Reconstructor:
    made = Reconstructor.new(tiny_reasoner, data.scales, SECTION)
    made.fit(data.texts, data.sites, data.targets, steps=80, batch_size=48, seed=0)
    return made


def test_it_begins_at_the_mean_and_learns(fresh: Reconstructor, fitted: Reconstructor, data: Data) -> None:
    assert data.explained(fresh.predict(data.texts, data.sites)) == pytest.approx(0.0, abs=0.05)
    assert data.explained(fitted.predict(data.texts, data.sites)) > 0.5
    assert (fresh.updates, fitted.updates) == (0, 80)


def test_a_constant_text_explains_nothing(fitted: Reconstructor, data: Data) -> None:
    for text in (data.texts[0], ""):
        assert data.explained(fitted.predict([text] * len(data.texts), data.sites)) <= 0


def test_update_returns_the_error_over_the_sites_variance(fresh: Reconstructor, data: Data) -> None:
    before = fresh.predict(data.texts, data.sites)
    stds = torch.tensor([data.scales[site].std for site in data.sites])[:, None]
    expected = ((before - data.targets) / stds).square().mean().item()
    with torch.no_grad():  # as where rewards run
        assert fresh.update(data.texts, data.sites, data.targets) == pytest.approx(expected, rel=1e-4)
    assert not torch.equal(fresh.predict(data.texts, data.sites), before)


def test_the_batch_size_does_not_change_a_step(
    fresh: Reconstructor, tiny_reasoner: CodiReasoner, data: Data
) -> None:
    whole = Reconstructor.new(tiny_reasoner, data.scales, SECTION.model_copy(update={"batch_size": 100}))
    losses = [made.update(data.texts, data.sites, data.targets) for made in (fresh, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    # AdamW's first step is the sign of the gradient, so tiny differences show where it is about 0.
    predictions = [made.predict(data.texts, data.sites) for made in (fresh, whole)]
    torch.testing.assert_close(*predictions, atol=1e-2, rtol=0)


def test_a_prediction_depends_on_its_own_row_alone(fitted: Reconstructor, data: Data) -> None:
    texts = [*data.texts[:5], "8 - 3 = 5 and then some more words to pad the others with", ""]
    sites = (SITES * 4)[:7]
    together = fitted.predict(texts, sites)
    alone = torch.cat([fitted.predict([t], [s]) for t, s in zip(texts, sites, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    turned = fitted.predict(texts[::-1], sites[::-1]).flip(0)
    torch.testing.assert_close(together, turned, atol=1e-5, rtol=0)


def test_each_distinct_text_is_read_once(fitted: Reconstructor, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    padded = fitted.reasoner.left_padded
    monkeypatch.setattr(fitted.reasoner, "left_padded", lambda rows: read.append(len(rows)) or padded(rows))
    fitted.predict(["8 - 3 = 5", " 8 - 3 = 5 ", "8 - 3 = 5", "6 + 6 = 12"], [*SITES, *SITES])
    assert read == [2]


def test_nothing_to_predict(fitted: Reconstructor) -> None:
    assert fitted.predict([], []).shape == (0, fitted.reasoner.width)


def test_saved_and_loaded_it_says_the_same(
    fitted: Reconstructor, tiny_reasoner: CodiReasoner, data: Data, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    loaded = Reconstructor.load(tmp_path, tiny_reasoner)
    assert (loaded.section, loaded.updates) == (SECTION, 80)
    assert torch.equal(loaded.predict(data.texts, data.sites), fitted.predict(data.texts, data.sites))
    slower = SECTION.model_copy(update={"learning_rate": 1e-5})
    assert Reconstructor.load(tmp_path, tiny_reasoner, slower).section == slower
    with pytest.raises(ReconstructorError, match="has rank 4, not 8"):
        Reconstructor.load(tmp_path, tiny_reasoner, SECTION.model_copy(update={"rank": 8}))


def test_another_reasoner_is_refused_with_both_hashes(
    fresh: Reconstructor, tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    fresh.save(tmp_path)
    other = make_tiny_reasoner(seed=1)
    with pytest.raises(ReconstructorError, match="start a new reconstructor") as caught:
        Reconstructor.load(tmp_path, other)
    assert tiny_reasoner.content_hash in str(caught.value) and other.content_hash in str(caught.value)
    with pytest.raises(FileNotFoundError, match="holds no reconstructor"):
        Reconstructor.load(tmp_path / "nowhere", other)


def test_later_layers_are_dropped_and_the_reasoner_stays(tiny_reasoner: CodiReasoner, data: Data) -> None:
    before = {name: value.clone() for name, value in tiny_reasoner.model.state_dict().items()}
    made = Reconstructor.new(tiny_reasoner, data.scales, SECTION.model_copy(update={"layers": 1}))
    names = [name for name, _ in made.network.named_parameters()]
    assert any("layers.0." in name for name in names) and not any("layers.1." in name for name in names)
    made.update(data.texts, data.sites, data.targets)
    after = tiny_reasoner.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert tiny_reasoner.lm.config.num_hidden_layers == 2
    with pytest.raises(ReconstructorError, match="layers = 3: this language model has 2"):
        Reconstructor.new(tiny_reasoner, data.scales, SECTION.model_copy(update={"layers": 3}))


def test_unknown_sites_and_thoughts_without_spread_are_errors(fresh: Reconstructor) -> None:
    with pytest.raises(ReconstructorError, match="no head for site h0; there is one for h1, h2"):
        fresh.predict(["8 - 3 = 5"], [Site("h", 0)])
    for thoughts in (torch.ones(3, 2), torch.empty(0, 2)):
        with pytest.raises(ReconstructorError, match="give some that differ"):
            Scale.of(thoughts)


def test_an_error_that_is_no_number_changes_no_weight(fresh: Reconstructor, data: Data) -> None:
    before = {name: value.clone() for name, value in fresh.network.trained.items()}
    with pytest.raises(
        NotFiniteError, match=r"loss of step 1 is nan; lower the reconstructor's learning_rate"
    ):
        fresh.update(data.texts, data.sites, torch.full_like(data.targets, torch.nan))
    assert all(torch.equal(value, before[name]) for name, value in fresh.network.trained.items())
    assert fresh.updates == 0
