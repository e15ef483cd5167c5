"""Searches on thoughts of two dimensions whose texts are read as vectors given beforehand."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reinforce import DistilSection, SearchSection
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.training.best_texts import BestTexts, Found
from reverse_codi.training.candidate_rows import CandidateRows
from reverse_codi.training.distil import chosen, pairs, times_shown
from reverse_codi.training.search import Nearest, Written, coverage, drawn, search
from reverse_codi.verbalize.thoughts import Thoughts
from tests.tiny import make_table_metric, make_tiny_policy

H0 = Site("h", 0)
# What each text stands for; the four thoughts lie at the first four.
PLACES = {
    "1 + 1 = 2.": [2.0, 0.0],
    "2 + 2 = 4.": [0.0, 2.0],
    "3 + 3 = 6.": [-2.0, 0.0],
    "4 + 4 = 8.": [0.0, -2.0],
    "1+1 =2": [2.0, 0.1],
    "so then": [0.0, 0.0],
}
TEXTS = list(PLACES)


def thoughts() -> Thoughts:
    targets = torch.tensor([PLACES[text] for text in TEXTS[:4]])
    names = [f"question {i}" for i in range(4)]
    return Thoughts(targets[:, None], targets, [H0] * 4, [0, 1, 2, 3], names, TEXTS[:4], [[]] * 4, [None] * 4)


@pytest.fixture
def metric() -> ThoughtMetric:
    return make_table_metric(PLACES, H0)


class Matches:
    """Rewards a text by its match."""

    def __init__(self, metric: ThoughtMetric) -> None:
        self.metric = metric

    def score(self, rows: Candidates) -> Any:
        predicted = self.metric.predict(rows.texts, rows.sites)
        match = self.metric.match(rows.targets, predicted, rows.sites).tolist()
        return SimpleNamespace(total=match, match=match)


def searched(
    metric: ThoughtMetric,
    reasoner: CodiReasoner,
    texts: dict[int, list[str]],
    before: BestTexts | None = None,
    **keys: int,
) -> list[Found]:
    rows = CandidateRows(thoughts(), 2, 0)
    written = Written(texts, policy=7)
    section = SearchSection(**keys)
    return search(written, before or BestTexts(), section, rows, metric, Matches(metric), reasoner.tokenizer)


def test_what_was_written_for_another_thought_is_found(
    metric: ThoughtMetric, tiny_reasoner: CodiReasoner
) -> None:
    wrong_way = {0: TEXTS[1:3], 1: [TEXTS[0], TEXTS[3]]}  # each text for a thought that it does not fit
    found = searched(metric, tiny_reasoner, wrong_way, shortlist=2, keep=1)
    assert {one.thought: one.text for one in found} == dict(enumerate(TEXTS[:4]))
    assert all(one.match == pytest.approx(1) and one.search == 1 and one.policy == 7 for one in found)


def test_without_a_shortlist_a_thought_gets_its_own_texts(
    metric: ThoughtMetric, tiny_reasoner: CodiReasoner
) -> None:
    found = searched(metric, tiny_reasoner, {0: TEXTS[1:3]}, shortlist=0)
    assert {one.thought for one in found} == {0}
    assert {one.text for one in found} == set(TEXTS[1:3])


def test_a_text_without_a_claim_is_never_kept(metric: ThoughtMetric, tiny_reasoner: CodiReasoner) -> None:
    found = searched(metric, tiny_reasoner, {0: ["so then", "3 + 3 = 6."]}, shortlist=4)
    assert {one.text for one in found} == {"3 + 3 = 6."}


def test_the_same_claims_count_once_and_lead_is_to_the_next_best(
    metric: ThoughtMetric, tiny_reasoner: CodiReasoner
) -> None:
    found = searched(metric, tiny_reasoner, {0: ["1+1 =2", "1 + 1 = 2.", "2 + 2 = 4."]}, shortlist=4, keep=2)
    best, second = [one for one in found if one.thought == 0]
    assert (best.text, second.text) == ("1+1 =2", "2 + 2 = 4.")
    assert best.lead == pytest.approx(best.reward - second.reward)
    assert second.lead == pytest.approx(second.reward - best.reward)


def test_texts_of_former_searches_are_looked_at_again(
    metric: ThoughtMetric, tiny_reasoner: CodiReasoner
) -> None:
    former = BestTexts([Found(3, "h0", TEXTS[0], 0.1, 0.1, math.inf, 1, 1)])
    found = searched(metric, tiny_reasoner, {3: [TEXTS[3]]}, former, shortlist=1)
    assert {one.thought: one.text for one in found}[0] == TEXTS[0]  # found for thought 3, fits thought 0
    assert {one.search for one in found} == {2}


def test_coverage_says_what_a_search_could_find() -> None:
    written = Written({0: ["1 + 1 = 2.", "so then"], 1: ["1+1 =2", "4 + 4 = 8"]}, policy=1)
    assert coverage(written, TEXTS[:4]) == {
        "texts/claiming": 0.75,
        "texts/distinct": 2.0,
        "texts/own": 0.5,  # of thought 0
        "texts/covered": 0.5,  # of thoughts 0 and 3
    }
    assert coverage(Written({}, policy=0), TEXTS[:4])["texts/covered"] == 0


def test_nothing_written_finds_nothing(metric: ThoughtMetric, tiny_reasoner: CodiReasoner) -> None:
    assert searched(metric, tiny_reasoner, {0: [], 1: ["so then"]}) == []


def test_the_nearest_of_many_are_those_of_all_distances(metric: ThoughtMetric) -> None:
    generator = torch.Generator().manual_seed(0)
    many, texts = torch.randn(3000, 2, generator=generator), torch.randn(50, 2, generator=generator)
    nearest = Nearest(metric.map_of(H0), many, 3)
    for block in texts.split(20):
        nearest.add(block)
    assert torch.equal(nearest.places, torch.cdist(many, texts).argsort(1)[:, :3])


def test_each_round_draws_other_thoughts_and_the_same_ones_again() -> None:
    section = SearchSection(thoughts=5)
    assert drawn(100, section, 1) == drawn(100, section, 1) != drawn(100, section, 2)
    assert drawn(4, section, 1) == [0, 1, 2, 3]
    assert len(set(drawn(100, section, 1))) == 5


# ---- the store


def found_at(thought: int, text: str, reward: float, search: int = 1, lead: float = 0.1) -> Found:
    return Found(thought, "h0", text, reward, reward, lead, search, search)


STORE = BestTexts(
    [
        found_at(1, "2 + 2 = 4.", 0.9, search=1),
        found_at(1, "5 + 5 = 10.", 0.8, search=2),
        found_at(0, "1 + 1 = 2.", 0.4, search=2),
    ]
)


def test_the_best_text_of_each_thought_is_of_any_search() -> None:
    assert [one.text for one in STORE.best().values()] == ["1 + 1 = 2.", "2 + 2 = 4."]


def test_a_store_is_read_as_it_was_written(tmp_path: Path) -> None:
    first, second = BestTexts(STORE.found[:1]), BestTexts(STORE.found[1:])
    first.save(tmp_path / "a")
    second.save(tmp_path / "b")
    assert BestTexts.load([tmp_path / "a", tmp_path / "b"]).found == STORE.found
    assert BestTexts.load([]).searches == 0


# ---- what is distilled


def test_the_lowest_rewards_are_left_out() -> None:
    store = BestTexts([found_at(n, f"{n} + 1 = {n + 1}.", n / 10) for n in range(10)])
    assert [one.thought for one in chosen(store, DistilSection(drop=0.3))] == list(range(3, 10))


def test_what_the_reader_is_surer_of_is_shown_more_often() -> None:
    best = [found_at(n, "x", 1 - n / 10, lead=lead) for n, lead in enumerate([0.0, 0.3, 0.2, math.inf])]
    assert times_shown(best, "none") == [1, 1, 1, 1]
    assert times_shown(best, "margin") == [1, 3, 2, 4]
    assert times_shown(best, "reward") == [4, 3, 2, 1]


def test_thoughts_without_a_step_and_the_warm_starts_pairs_get_their_share(
    tiny_reasoner: CodiReasoner,
) -> None:
    width = tiny_reasoner.lm.config.hidden_size
    many = Thoughts(
        torch.randn(40, 1, width), torch.zeros(40, width), [H0] * 40, list(range(40)), ["q"] * 40,
        ["x"] * 40, [[]] * 40, [None] * 40,
    )  # fmt: skip
    store = BestTexts([found_at(n, f"{n} + 1 = {n + 1}.", 0.5) for n in range(30)])
    section = DistilSection(drop=0, empty=0.2, replay=0.2)
    made = pairs(
        make_tiny_policy(tiny_reasoner), store, section, many, many, (many.take([0, 1]), ["old 0", "old 1"])
    )
    assert len(made.texts) == len(made.vectors) == 50
    assert made.texts.count("(no step)") == 10
    assert sum(text.startswith("old") for text in made.texts) == 10
    config = make_tiny_policy(tiny_reasoner).verbalizer_config
    assert torch.equal(made.vectors[:30], config.inject(many.slots[:30]))
    assert list(made.texts[:2]) == ["0 + 1 = 1.", "1 + 1 = 2."]
