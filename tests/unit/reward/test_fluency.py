from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reverse_codi.reading.language_model import LanguageModel
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.rewards.batch import RewardBatch, RewardError
from reverse_codi.rewards.calls import run_rewards
from reverse_codi.rewards.registry import find
from reward.fluency import WORST, Fluency, FluencyReward
from tests.tiny import make_batch, make_rows

SITE = Site("h", 0)
TEXTS = ["12 + 5 = 17", "She gets 5", " 12 + 5 = 17"]


def batch(metric: ThoughtMetric, reasoner: CodiReasoner) -> RewardBatch:
    return make_batch(make_rows(TEXTS, torch.zeros(len(TEXTS), reasoner.width), SITE), metric)


def test_it_is_the_reasoners_own_likelihood_in_cot_mode(
    tiny_metric: ThoughtMetric, tiny_reasoner: CodiReasoner
) -> None:
    values = FluencyReward(Fluency())(batch(tiny_metric, tiny_reasoner))
    ids = torch.tensor([[tiny_reasoner.tokenizer.eos_token_id, *tiny_reasoner.ids(TEXTS[0])]])
    scores = tiny_reasoner.lm(ids).logits[0, :-1].log_softmax(-1)
    expected = scores.gather(1, ids[0, 1:, None]).mean().item()
    assert values[0] == pytest.approx(expected, abs=1e-5)
    assert values[0] == values[2]  # outer spaces are not read
    assert values[1] != values[0]


def test_it_is_clipped_on_both_sides(
    tiny_metric: ThoughtMetric, tiny_reasoner: CodiReasoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    nll = {"12 + 5 = 17": 0.1, "She gets 5": 40.0}
    monkeypatch.setattr(CodiReasoner, "nll", lambda self, texts: torch.tensor([nll[text] for text in texts]))
    values = FluencyReward(Fluency(enough=-0.5))(batch(tiny_metric, tiny_reasoner))
    assert values == [-0.5, WORST, -0.5]


def test_another_language_model_judges(
    tiny_metric: ThoughtMetric, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path]
) -> None:
    values = FluencyReward(Fluency(model=str(tiny_folders[0])))(batch(tiny_metric, tiny_reasoner))
    expected = (-LanguageModel.load(str(tiny_folders[0])).nll(TEXTS[:2])).tolist()
    assert values[:2] == pytest.approx(expected, abs=1e-5)


def test_a_missing_model_is_named(
    tiny_metric: ThoughtMetric, tiny_reasoner: CodiReasoner, tmp_path: Path
) -> None:
    record = find("fluency", {"model": str(tmp_path / "none")})  # nothing is loaded yet
    with pytest.raises(RewardError, match=r"'fluency'.*the language model .*none.* could not be loaded"):
        run_rewards([record], batch(tiny_metric, tiny_reasoner))
