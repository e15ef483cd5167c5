from __future__ import annotations

import pytest
import torch

from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reward import Gate, Over, RewardItem, Schedule
from reverse_codi.rewards.batch import Columns, RewardError
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.combining import Combination, correlations, normalized, weighted
from reverse_codi.rewards.declare import RewardSpec
from tests.tiny import make_rows

SITE = Site("h", 1)


def rows(texts: list[str], questions: list[str] | None = None) -> Candidates:
    asked = questions or ["the same"] * len(texts)
    return make_rows(texts, torch.zeros(len(texts), 2), SITE, questions=asked)


def combination(*items: RewardItem) -> Combination:
    return Combination([RewardSpec(item.name, lambda batch: [], -1.0) for item in items], items)


def test_weighted_sum_skips_none() -> None:
    raw = {"a": [1.0, None, 2.0], "b": [10.0, 10.0, None]}
    assert weighted(raw, {"a": 2.0, "b": 0.5}, ["x", "y", "z"]) == [7.0, 5.0, 4.0]


def test_a_row_to_which_nothing_applies_is_an_error() -> None:
    with pytest.raises(RewardError, match=r"'a \+ b': no function applies.*row 1, text 'y'"):
        weighted({"a": [1.0, None], "b": [None, None]}, {"a": 1.0, "b": 1.0}, ["x", "y"])


def test_a_plain_combination_is_the_weighted_sum_of_what_was_returned() -> None:
    raw: Columns = {"a": [1.0, None], "b": [0.5, 0.25]}
    combined = Combination([RewardSpec(name, lambda batch: [], -1.0) for name in "ab"], [2.0, 4.0])(
        raw, rows(["x", "y"]), 7
    )
    assert (combined.columns, combined.weights) == (raw, {"a": 2.0, "b": 4.0})
    assert combined.total == [4.0, 1.0]
    assert combined.figures == {}  # one row in which both apply has no correlation, and lengths are alike


def test_a_closed_gate_gives_the_worst_so_that_closing_it_never_pays() -> None:
    gate = Gate(by="match", above=0.2)
    both = combination(RewardItem(name="match"), RewardItem(name="brief", gate=gate, weight=0.5))
    raw: Columns = {"match": [0.2, 0.3, None, 0.9], "brief": [-0.5, -0.5, 0.0, None]}
    combined = both(raw, rows(list("wxyz")), 0)
    assert combined.columns == {"match": raw["match"], "brief": [-1.0, -0.5, -1.0, None]}
    assert combined.total == pytest.approx([-0.3, 0.05, -0.5, 0.9])
    assert combined.figures["gate/brief"] == 0.5
    assert combined.figures["raw/brief"] == pytest.approx(-1 / 3)
    assert "raw/match" not in combined.figures  # TRL logs it


def test_normalised_over_the_group_or_the_step() -> None:
    shown = rows(list("abcd"), ["p", "p", "q", "q"])
    raw: Columns = {"x": [0.0, 2.0, 10.0, None], "y": [0.0] * 4}
    y = RewardItem(name="y")
    column = combination(RewardItem(name="x", normalize=Over.GROUP), y)(raw, shown, 0).columns["x"]
    assert column == [pytest.approx(value, abs=1e-4) for value in (-0.70706, 0.70706, 0.0)] + [None]
    # mean 4, spread sqrt((16 + 4 + 36) / 2) = 5.2915
    column = combination(RewardItem(name="x", normalize=Over.STEP), y)(raw, shown, 0).columns["x"]
    assert column == [pytest.approx(value, abs=1e-4) for value in (-0.7559, -0.378, 1.1339)] + [None]
    assert normalized([3.0, 3.0], [0, 0]) == [0.0, 0.0]


def test_the_gate_comes_before_the_normalisation() -> None:
    item = RewardItem(name="x", gate=Gate(by="y", above=0.0), normalize=Over.GROUP)
    combined = combination(item, RewardItem(name="y"))(
        {"x": [1.0, 3.0], "y": [1.0, -1.0]}, rows(["a", "b"]), 0
    )
    assert combined.columns["x"] == pytest.approx([0.70706, -0.70706], abs=1e-4)  # of 1 and the worst, -1


def test_a_scheduled_weight_is_the_steps_and_is_logged() -> None:
    fading = combination(RewardItem(name="x", schedule=Schedule(to=0.0, steps=10)), RewardItem(name="y"))
    raw: Columns = {"x": [1.0, 2.0], "y": [0.0, 0.5]}
    for step, weight in ((0, 1.0), (5, 0.5), (20, 0.0)):
        combined = fading(raw, rows(["a", "b"]), step)
        assert combined.weights == {"x": weight, "y": 1.0}
        assert combined.total == pytest.approx([weight, 2 * weight + 0.5])
        assert combined.figures["weight/x"] == weight
        assert "weight/y" not in combined.figures


def test_correlations_between_rewards_and_with_length_leave_failed_rows_out() -> None:
    shown = rows(["a", "a b", "a b c", " "])  # lengths 1, 2, 3; the last failed
    raw: Columns = {"up": [1.0, 2.0, 3.0, -9.0], "down": [2.0, 1.0, None, -9.0], "flat": [1.0] * 3 + [-9.0]}
    assert correlations(raw, shown) == {
        "correlation/up/down": pytest.approx(-1.0),
        "length_correlation/up": pytest.approx(1.0),
        "length_correlation/down": pytest.approx(-1.0),
    }
    raw["some"] = [0.0, 1.0, 0.0, -9.0]
    assert correlations(raw, shown)["correlation/up/some"] == pytest.approx(0.0)


def test_a_reward_called_length_is_not_taken_for_the_length() -> None:
    raw: Columns = {"length": [3.0, 2.0, 1.0], "up": [1.0, 2.0, 3.0]}
    assert correlations(raw, rows(["a", "a b", "a b c"])) == {
        "correlation/length/up": pytest.approx(-1.0),
        "length_correlation/length": pytest.approx(-1.0),
        "length_correlation/up": pytest.approx(1.0),
    }


def undeclared(*items: RewardItem) -> Combination:
    return Combination([RewardSpec(item.name, lambda batch: []) for item in items], items)


def test_without_a_worst_a_failed_text_gets_the_least_value_of_its_step_and_a_warning_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    combine = undeclared(RewardItem(name="a", weight=2.0))
    given = rows(["x", "", "y", "z"])
    combined = combine({"a": [0.5, None, -0.25, 1.0]}, given, 0)
    assert combined.raw == combined.columns == {"a": [0.5, -0.25, -0.25, 1.0]}
    assert combine({"a": [0.5, None, 3.0, 2.0]}, given, 1).raw == {"a": [0.5, 0.5, 3.0, 2.0]}
    [record] = caplog.records
    assert "reward 'a' declares no worst value" in record.getMessage()


def test_the_least_value_counts_in_the_sum() -> None:
    combine = undeclared(RewardItem(name="a", weight=2.0))
    combined = combine({"a": [0.5, None, -0.25]}, rows(["x", " ", "y"]), 0)
    assert combined.total == [1.0, -0.5, -0.5]
    assert combine({"a": [None, None]}, rows(["", ""]), 0).total == [0.0, 0.0]  # all failed


def test_where_nothing_failed_there_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    undeclared(RewardItem(name="a"))({"a": [0.5]}, rows(["x"]), 0)
    assert not caplog.records


def test_behind_a_closed_gate_stands_the_least_value_before_the_gate(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gated_item = RewardItem(name="a", gate=Gate(by="b", above=0.0))
    combine = undeclared(gated_item, RewardItem(name="b"))
    raw: Columns = {"a": [0.5, -0.5, 1.0, None], "b": [1.0, 1.0, -1.0, 1.0]}
    combined = combine(raw, rows(["x", "y", "z", "w"]), 0)
    assert combined.columns["a"] == [0.5, -0.5, -0.5, None]
    assert "reward 'a' declares no worst" in caplog.text and "'b'" not in caplog.text


def test_a_declared_worst_stays_beside_one_that_is_not() -> None:
    items = [RewardItem(name="a"), RewardItem(name="b")]
    functions = [RewardSpec("a", lambda batch: [], -1.0), RewardSpec("b", lambda batch: [])]
    combined = Combination(functions, items)({"a": [0.5, -1.0], "b": [0.25, None]}, rows(["x", ""]), 0)
    assert combined.raw == {"a": [0.5, -1.0], "b": [0.25, 0.25]}
