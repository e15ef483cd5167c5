from __future__ import annotations

import doctest
import math

import pytest
import torch

import reward.contrastive
from reverse_codi.reasoners.sites import Site
from reverse_codi.rewards.batch import RewardBatch
from reward.contrastive import (
    WORST,
    Contrastive,
    contrastive,
    near_misses,
    step_distances,
    text_distances,
    thought_distances,
)
from tests.tiny import TableReader, make_batch, make_rows, make_table_metric

SITE = Site("h", 1)
THOUGHT = [1.0, 0.0]
FAR = [0.0, 1.0]


def batch(texts: list[str], reads: dict[str, list[float]], default: list[float], m: int = 3) -> RewardBatch:
    n = len(texts)
    logged.clear()
    rows = make_rows(texts, torch.tensor([THOUGHT] * n), SITE, distractors=torch.tensor(FAR).expand(n, m, 2))
    return make_batch(rows, make_table_metric(reads, SITE, default), lambda k, v: logged.update({k: v}))


logged: dict[str, float] = {}
THOUGHT_ONLY = Contrastive(text_weight=0.0, temperature=0.5)
TEXT_ONLY = Contrastive(thought_weight=0.0, temperature=0.5, near_misses=3)


def test_own_thought_among_others() -> None:
    given = batch(["own", "none", "other"], {"own": THOUGHT, "none": [0.0, 0.0], "other": FAR}, FAR)
    own, none, other = contrastive(given, THOUGHT_ONLY)
    # "own": distance 0 to its thought and (1 + 1) / 2 = 1 to each of 3 others, temperature 1/2
    assert own == pytest.approx(1 - math.log(1 + 3 * math.exp(-2)) / math.log(4))
    assert none == pytest.approx(0.0, abs=1e-6)  # as far from all: chance
    assert other == WORST
    assert logged["thought_top1"] == pytest.approx(2 / 3)  # a tie goes to the first
    assert thought_distances(given).tolist() == [[0, 1, 1, 1], [0.5] * 4, [1, 0, 0, 0]]


STEP = Contrastive(against="step", text_weight=0.0, temperature=0.5)


def step_batch() -> RewardBatch:
    """Two texts of each of three thoughts of one site, and one of a thought of another."""
    targets = torch.tensor([THOUGHT, THOUGHT, FAR, FAR, [1.0, 1.0], [1.0, 1.0], THOUGHT])
    rows = make_rows(
        ["own", "other", "own", "other", "own", "other", "own"],
        targets,
        SITE,
        questions=["a", "a", "b", "b", "c", "c", "a"],
        sites=[SITE] * 6 + [Site("h", 2)],
    )
    metric = make_table_metric({"own": THOUGHT, "other": FAR}, SITE)
    metric.maps[Site("h", 2)] = metric.maps[SITE]
    return make_batch(rows, metric, lambda k, v: logged.update({k: v}))


def test_own_thought_among_all_of_its_site_in_the_step() -> None:
    given = step_batch()
    inf = math.inf
    # The own thought, then the step's thoughts a, b, c at this site, and a at the other.
    expected = [
        [0, inf, 1, 0.5, inf],
        [1, inf, 0, 0.5, inf],
        [1, 0, inf, 0.5, inf],
        [0, 1, inf, 0.5, inf],
        [0.5, 0, 1, inf, inf],
        [0.5, 1, 0, inf, inf],
        [0, inf, inf, inf, inf],
    ]
    torch.testing.assert_close(step_distances(given), torch.tensor(expected))
    values = contrastive(given, STEP)
    near = 1 - math.log(1 + math.exp(-2) + math.exp(-1)) / math.log(3)
    assert values[0] == values[3] == pytest.approx(near)
    assert values[1] == values[2] == WORST
    assert values[6] == 0  # alone at its site: chance


def test_the_contrast_with_the_step_does_not_depend_on_how_rows_are_shared_out() -> None:
    given = step_batch()
    whole = contrastive(given, STEP)
    for share in ([0], [5, 2], [6, 4, 1, 3]):
        assert contrastive(given.take(share), STEP) == pytest.approx([whole[row] for row in share])


def test_the_contrast_with_the_step_reads_nothing() -> None:
    given = step_batch()
    assert isinstance(given.metric.reader, TableReader)
    given.metric.reader.read.clear()
    contrastive(given, STEP)
    assert given.metric.reader.read == []


def test_no_distractors_is_chance() -> None:
    assert contrastive(batch(["own"], {"own": THOUGHT}, FAR, m=0), THOUGHT_ONLY) == [0.0]


def test_own_text_among_near_misses() -> None:
    text, template = "12 + 5 = 17", "7 + 7 = 14"
    # `template` and all its near misses are read alike, as a text whose numbers do not matter is.
    reads = {text: THOUGHT} | dict.fromkeys([template, *near_misses(template, 3)], THOUGHT)
    sharp, blunt = contrastive(batch([text, template], reads, FAR), TEXT_ONLY)
    assert sharp == pytest.approx(1 - math.log(1 + 3 * math.exp(-2)) / math.log(4))
    assert blunt == pytest.approx(0.0, abs=1e-6)


def test_a_near_miss_that_is_right_beats_a_wrong_text() -> None:
    wrong = "12 + 5 = 18"
    reads = {wrong: FAR, near_misses(wrong, 3)[0]: THOUGHT}
    (value,) = contrastive(batch([wrong], reads, FAR), TEXT_ONLY)
    assert value is not None and value < -0.5
    assert logged["text_top1"] == 0.0


def test_a_text_without_near_misses_is_at_chance_and_mixes_with_others() -> None:
    given = batch(["word", "12 + 5 = 17"], {"12 + 5 = 17": THOUGHT}, FAR)
    alone, sharp = contrastive(given, TEXT_ONLY)
    assert alone == 0.0
    assert sharp is not None and sharp > 0.5
    assert text_distances(given, 3)[0, 1:].isinf().all()


def test_nan_is_not_hidden() -> None:
    for config in (THOUGHT_ONLY, TEXT_ONLY):
        (value,) = contrastive(batch(["own"], {"own": [math.nan, 0.0]}, FAR), config)
        assert value is not None and math.isnan(value)


def test_weights_average_the_parts() -> None:
    given = batch(["12 + 5 = 17", "7 + 7 = 14"], {"12 + 5 = 17": THOUGHT}, FAR)
    parts = [contrastive(given, config) for config in (THOUGHT_ONLY, TEXT_ONLY)]
    mixed = Contrastive(thought_weight=3.0, text_weight=1.0, temperature=0.5, near_misses=3)
    for value, thought, text in zip(contrastive(given, mixed), *parts, strict=True):
        assert thought is not None and text is not None
        assert value == pytest.approx((3 * thought + text) / 4)


def test_zero_text_weight_reads_nothing() -> None:
    given = batch(["12 + 5 = 17"], {"12 + 5 = 17": THOUGHT}, FAR)
    reader = given.metric.reader
    assert isinstance(reader, TableReader)
    reader.read.clear()
    contrastive(given, THOUGHT_ONLY)
    assert reader.read == []


def test_both_weights_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="both 0"):
        Contrastive(thought_weight=0, text_weight=0)


def test_doctests() -> None:
    assert doctest.testmod(reward.contrastive).failed == 0


def test_near_misses_are_distinct_and_the_same_every_time() -> None:
    text = "12 + 5 = 17. 17 * 3 = 51."
    misses = near_misses(text, 8)
    assert misses == near_misses(text, 8)
    assert len({tuple(miss.split()) for miss in [text, *misses]}) == 9
    assert near_misses(text, 3) == misses[:3]


@pytest.mark.parametrize("text", ["word", "", "0", "no no no"])
def test_few_near_misses(text: str) -> None:
    misses = near_misses(text, 4)
    assert text not in misses
    assert all(miss.isdigit() for miss in misses)
