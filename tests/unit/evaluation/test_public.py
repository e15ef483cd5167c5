"""The public evaluation; what it computes is tested beside the suite, and run by docs/api.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reverse_codi import Recipe, evaluate
from reverse_codi.errors import RecipeError, UserError
from reverse_codi.evaluation.public import EvaluationResult
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.figures import NOTHING

OPERANDS = Interval(0.9, 0.8, 0.95, 64)
RESULT = EvaluationResult(
    {"operands": OPERANDS, "match.h0": Interval(0.5, 0.4, 0.6, 60), "step_result.3": NOTHING},
    {"constant": {"operands": Interval(0.1, 0.0, 0.2, 64)}},
)


def test_a_result_is_its_figures_by_key() -> None:
    assert RESULT["operands"] == OPERANDS and "match.h0" in RESULT and len(RESULT) == 3
    assert RESULT.baselines["constant"]["operands"].value == 0.1


def test_a_result_goes_to_json_and_pandas(tmp_path: Path) -> None:
    written = json.loads(RESULT.to_json(tmp_path / "figures.json"))
    assert written == json.loads((tmp_path / "figures.json").read_text()) == RESULT.to_dict()
    assert written["operands"] == {"value": 0.9, "low": 0.8, "high": 0.95, "n": 64}
    assert written["step_result.3"]["value"] is None and "baselines.constant.operands" in written
    frame = RESULT.to_pandas()
    assert list(frame.columns) == ["method", "figure", "value", "low", "high", "n"]
    assert frame.method.tolist() == ["verbalizer"] * 3 + ["constant"]


def test_a_result_prints_the_figures_that_have_an_aim() -> None:
    shown = repr(RESULT)
    assert shown.startswith("EvaluationResult: 3 figures; those with an aim:\n")
    assert (
        "verbalizer 0.900 [0.800, 0.950]; constant 0.100 [0.000, 0.200]" in shown and "match.h0" not in shown
    )


def test_a_result_shows_the_same_in_a_notebook() -> None:
    assert RESULT._repr_html_() == (
        "<p>3 figures; those with an aim:</p><table><tr><th>figure</th><th>aim</th><th>verbalizer</th>"
        "<th>constant</th></tr><tr><td>step_result.3</td><td>&gt;= 0.9</td>"
        f"<td>{NOTHING}</td><td>-</td></tr><tr><td>operands</td><td>&gt;= 0.8</td>"
        "<td>0.900 [0.800, 0.950]</td><td>0.100 [0.000, 0.200]</td></tr></table>"
    )


def test_what_cannot_be_evaluated_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no control is named 'constnat'; there are .*constant"):
        evaluate("embedded", baselines=["constnat"])
    with pytest.raises(RecipeError, match="evaluate: problems = 3: input should be greater"):
        evaluate("embedded", problems=3)
    with pytest.raises(UserError, match=r"no verbalizer in \S+ or \S+/verbalizer; train one first"):
        evaluate(tmp_path)
    with pytest.raises(UserError, match=r"no verbalizer in \S+ or \S+/verbalizer; train one first"):
        evaluate(Recipe.load("tiny", train={"out": tmp_path}))
