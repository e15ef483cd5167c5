from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from rich.console import RenderableType

from reverse_codi.evaluation.controls import gold_claims
from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.evaluation.report import (
    AIMS,
    METRICS_FILE,
    Aim,
    comparison,
    figure_table,
    flat,
    save,
    save_texts,
)
from reverse_codi.evaluation.suite.predictions import Predictions
from reverse_codi.traces.store import TraceStore
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.figures import nothing
from reverse_codi.utils.tables import Table
from tests.fakes import lines_of

NAN = float("nan")
FOUND = {
    "operation": Interval(0.99, 0.98, 1.0, 300),
    "operands": Interval(0.5, 0.4, 0.6, 300),
    "robust.paraphrase_drop": Interval(0.03, 0.01, 0.06, 300),
    "top_share": Interval(0.1, 0.05, 0.2, 300),
}
SILENT = {
    "operation": Interval(0.0, 0.0, 0.0, 300),
    "robust.paraphrase_drop": Interval(NAN, NAN, NAN, 0),
}


def line(table: RenderableType, name: str) -> str:
    (only,) = [of_text for of_text in lines_of(table) if of_text.startswith(f"{name} ")]
    return only


def test_keys_are_flat_and_controls_have_their_name() -> None:
    every = flat(FOUND, {"empty": SILENT})
    assert every["operands"] == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 300}
    assert every["baselines.empty.operation"]["value"] == 0
    assert set(every) == {*FOUND, *(f"baselines.empty.{key}" for key in SILENT)}


def test_nothing_counted_is_null_and_the_file_is_strict_json(tmp_path: Path) -> None:
    file = save(FOUND, {"empty": SILENT}, tmp_path / "new" / "folder")
    assert file.name == METRICS_FILE

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    read = json.loads(file.read_text(), parse_constant=refuse)
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    assert read["baselines.empty.robust.paraphrase_drop"] == nothing


def test_a_control_alone_keeps_what_was_there(tmp_path: Path) -> None:
    save(FOUND, {"empty": SILENT}, tmp_path)
    save({}, {"constant": {"operation": Interval(0.3, 0.2, 0.4, 300)}}, tmp_path)
    read = json.loads((tmp_path / METRICS_FILE).read_text())
    assert read["operands"]["value"] == 0.5
    assert read["baselines.empty.operation"]["value"] == 0
    assert read["baselines.constant.operation"]["value"] == 0.3
    save({}, {"constant": {"operation": Interval(0.4, 0.2, 0.5, 300)}}, tmp_path)
    assert json.loads((tmp_path / METRICS_FILE).read_text())["baselines.constant.operation"]["value"] == 0.4
    assert [path.name for path in tmp_path.iterdir()] == [METRICS_FILE]


def test_a_figure_that_is_left_out_later_keeps_its_value(tmp_path: Path) -> None:
    save({"fve.reconstructor": Interval(0.9, 0.8, 1.0, 300)}, {}, tmp_path)
    file = save({"fve.reconstructor": nothing("left out")}, {}, tmp_path)
    assert json.loads(file.read_text())["fve.reconstructor"]["value"] == 0.9


@pytest.mark.parametrize(
    ("aim", "value", "met", "message"),
    [
        (Aim(0.9), 0.9, True, ">= 0.9"),
        (Aim(0.9), 0.899, False, ">= 0.9"),
        (Aim(most=0.05), 0.05, True, "<= 0.05"),
        (Aim(most=0.05), -0.2, True, "<= 0.05"),
        (Aim(most=0.05), 0.051, False, "<= 0.05"),
        (Aim(0.9), NAN, False, ">= 0.9"),
        (Aim(most=0.05), NAN, False, "<= 0.05"),
    ],
)
def test_aims(aim: Aim, value: float, met: bool, message: str) -> None:
    assert aim.met(value) is met
    assert str(aim) == message


def test_the_table_says_which_aims_are_met() -> None:
    table = figure_table(FOUND, FOUND, "all")
    assert ">= 0.98 met" in line(table, "operation")
    assert ">= 0.8 MISSED" in line(table, "operands")
    assert "<= 0.05 met" in line(table, "robust.paraphrase_drop")
    assert "0.500 [0.400, 0.600]" in line(table, "operands")
    assert "met" not in line(table, "top_share").lower() and "missed" not in line(table, "top_share").lower()
    silent = figure_table(SILENT, SILENT, "silent")
    assert "nothing to count" in line(silent, "robust.paraphrase_drop")
    assert "MISSED" in line(silent, "robust.paraphrase_drop")


def test_methods_stand_beside_each_other_a_line_a_figure() -> None:
    [table] = comparison(FOUND, {"empty": SILENT, "constant": {}}, Path(METRICS_FILE))
    assert isinstance(table, Table) and table.columns == ["figure", "verbalizer", "empty", "constant"]
    assert table.column("figure") == [key for key in AIMS if key in FOUND]
    assert line(table, "operation").split() == ["operation", "0.99", "0.00"]
    assert line(table, "operands").split() == ["operands", "0.50"]
    assert "nan" not in line(table, "robust.paraphrase_drop")


def test_four_methods_have_room_and_a_line_says_where_the_others_are() -> None:
    controls = dict.fromkeys(("empty", "logit_lens", "shuffled", "question_only", "gold"), SILENT)
    *shown, rest = comparison(FOUND, controls, Path("runs/a/metrics.json"))
    columns = [name for table in shown if isinstance(table, Table) for name in table.columns]
    assert columns == ["figure", "verbalizer", "gold", "question_only", "logit_lens"]
    assert str(rest) == "2 more controls are in runs/a/metrics.json: empty, shuffled"


def test_a_control_alone_stands_without_the_verbalizer() -> None:
    [table] = comparison({}, {"empty": SILENT}, Path(METRICS_FILE))
    assert isinstance(table, Table) and table.columns == ["figure", "empty"]


def test_every_text_is_kept_beside_its_gold_text(eval_set: EvalSet, tmp_path: Path) -> None:
    file = save_texts(Predictions(eval_set, gold_claims), tmp_path)
    records = [json.loads(of_text) for of_text in file.read_text().splitlines()]
    assert [record["traces"] for record in records] == ["heldout"] * len(eval_set.thoughts) + ["wrong"] * len(
        eval_set.wrong_thoughts
    )
    assert all(record["text"] == record["gold"] for record in records)
    assert [record["question"] for record in records[: len(eval_set.thoughts)]] == eval_set.thoughts.questions


def test_a_model_that_is_never_wrong_keeps_its_texts(eval_set: EvalSet, tmp_path: Path) -> None:
    never = replace(eval_set, wrong=cast(TraceStore, []))
    records = save_texts(Predictions(never, gold_claims), tmp_path).read_text().splitlines()
    assert [json.loads(record)["traces"] for record in records] == ["heldout"] * len(eval_set.thoughts)
