from __future__ import annotations

import pytest
import torch

from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.sites import Site
from reverse_codi.verbalize.scores import Scored, match_gain, score
from reverse_codi.verbalize.thoughts import Thoughts
from tests.tiny import make_table_metric

SITE = Site("h", 0)


def make_thoughts(gold: list[str], targets: torch.Tensor | None = None) -> Thoughts:
    n = len(gold)
    vectors = torch.eye(n, 4) if targets is None else targets
    return Thoughts(
        vectors[:, None],
        vectors,
        [SITE] * n,
        list(range(n)),
        ["?"] * n,
        gold,
        [[g] for g in gold],
        [None] * n,
    )


@pytest.fixture
def metric() -> ThoughtMetric:
    return make_table_metric({"12 + 5 = 17.": [1.0, 0, 0, 0]}, SITE, default=[0.0, 0, 0, 0])


GOLD = "12 + 5 = 17."


@pytest.mark.parametrize(
    ("text", "result", "claim", "operation"),
    [
        ("12 + 5 = 17.", 1, 1, 1),
        ("12+5=17", 1, 1, 1),
        ("12 + 5 = 17 .", 1, 1, 1),
        ("10 + 7 = 17.", 1, 0, 1),
        ("20 - 3 = 17.", 1, 0, 0),
        ("12 + 6 = 18.", 0, 0, 1),
        ("17", 0, 0, 0),
        ("", 0, 0, 0),
        ("12 + 5 =", 0, 0, 0),
        # naming more than the thought holds loses, even where the right one is among it
        ("12 + 5 = 17. 17 * 2 = 34.", 0, 0, 0),
        ("12 + 5 = 16. 12 + 5 = 17. 12 + 5 = 18.", 0, 0, 0),
    ],
)
def test_content(metric: ThoughtMetric, text: str, result: int, claim: int, operation: int) -> None:
    scored = score(make_thoughts([GOLD]), [text], metric)
    assert (scored.result.item(), scored.claim.item(), scored.operation.item()) == (result, claim, operation)
    assert scored.content == pytest.approx((result + claim + operation) / 3)


def test_no_step_is_right_only_where_the_thought_holds_none(metric: ThoughtMetric) -> None:
    scored = score(make_thoughts(["(no step)", GOLD]), ["(no step)"] * 2, metric)
    assert scored.claim.tolist() == [1, 0]


def test_match_is_a_ratio_of_sums(metric: ThoughtMetric) -> None:
    # distances: 0 and |(0, 3)|^2 / 4; to the mean (0): 1/4 and 9/4
    thoughts = make_thoughts([GOLD, GOLD], torch.tensor([[1.0, 0, 0, 0], [0, 3.0, 0, 0]]))
    scored = score(thoughts, [GOLD, "?"], metric)
    assert scored.match == pytest.approx(1 - 9 / 10)


def test_retrieval_of_own_texts_and_of_a_constant_text() -> None:
    points = torch.randn(128, 4, generator=torch.Generator().manual_seed(0))
    table = {f"text {i}": point.tolist() for i, point in enumerate(points)}
    metric, thoughts = make_table_metric(table, SITE), make_thoughts([GOLD] * 128, points)
    own = score(thoughts, list(table), metric)
    assert (own.retrieved, own.distinct, own.top_share) == (1.0, 1.0, 1 / 128)
    constant = score(thoughts, ["text 0"] * 128, metric)
    assert (constant.retrieved, constant.distinct, constant.top_share) == (0.0, 1 / 128, 1.0)
    assert constant.match < 0.2


def test_take_keeps_rows_together() -> None:
    thoughts = make_thoughts(["a", "b", "c"]).take([2, 0])
    assert (thoughts.gold, thoughts.problems, thoughts.claims) == (["c", "a"], [2, 0], [["c"], ["a"]])
    assert torch.equal(thoughts.targets, torch.eye(3, 4)[[2, 0]])
    assert torch.equal(thoughts.slots[:, 0], thoughts.targets)


def scored(distance: list[float]) -> Scored:
    n = len(distance)
    zeros = torch.zeros(n)
    return Scored(torch.tensor(distance), torch.full((n,), 2.0), 0.0, zeros, zeros, zeros, ["x"] * n)


def test_one_wild_text_does_not_decide_the_clipped_match() -> None:
    wild = scored([1.0, 1.0, 400.0, 2.0])
    assert wild.clipped.tolist() == pytest.approx([0.5, 0.5, -2, 0])


def test_gain_is_paired_by_problem() -> None:
    before, after = scored([1.0, 1.0, 2.0, 2.0]), scored([0.5, 0.5, 1.5, 1.5])
    gain = match_gain(before, after, [0, 0, 1, 1])
    assert gain.n == 2
    assert gain.value == pytest.approx(after.match - before.match) == pytest.approx(0.25)
    assert gain.low == gain.high == pytest.approx(0.25)  # the same gain in every problem: no doubt


def test_a_partial_claim_leaves_its_operation_open(metric: ThoughtMetric) -> None:
    thoughts = make_thoughts([GOLD, "= 17.", "= 18."])
    scored = score(thoughts, ["20 - 3 = 17.", "= 17.", "12 + 5 = 17."], metric)
    assert scored.result.tolist() == [1, 1, 0] and scored.claim.tolist() == [0, 1, 0]
    torch.testing.assert_close(scored.operation, torch.tensor([0, torch.nan, torch.nan]), equal_nan=True)
    assert scored.content_each.tolist() == pytest.approx([1 / 3, 1, 0])
    assert scored.summary()["operation"] == 0


def test_sentences_are_scored_without_operations(metric: ThoughtMetric) -> None:
    gold = ["Tom is a wumpus.", "Every wumpus is a tumpus."]
    scored = score(make_thoughts(gold), [gold[0], "Every lempus is a tumpus ."], metric)
    assert (scored.claim.tolist(), scored.result.tolist()) == ([1, 0], [1, 1])
    assert "operation" not in scored.summary()
    assert scored.content == pytest.approx(0.75)
