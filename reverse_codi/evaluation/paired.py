"""Did one verbalizer get better than another (`reverse-codi paired`)?

Both are folders of `reverse-codi evaluate` on the same thoughts. Most of the spread of a table comes from the
problems, so intervals of two tables may overlap although the difference is real. Here each thought is its own
control.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reverse_codi.errors import UserError
from reverse_codi.evaluation.metrics.content import Part, f1, gold_stated
from reverse_codi.evaluation.report import TEXTS_FILE
from reverse_codi.tasks.corpus import read_jsonl
from reverse_codi.utils import figures
from reverse_codi.utils.figures import Figures

Row = dict[str, Any]


def texts_of(folder: Path) -> list[Row]:
    """What an evaluation kept of every thought.

    Raises:
        UserError: the folder is of no evaluation.
    """
    file = folder / TEXTS_FILE
    if not file.is_file():
        raise UserError(f"no {file}; give folders that `reverse-codi evaluate --out FOLDER` wrote")
    rows = list(read_jsonl(file))
    for row in rows:
        row.text("question")
    return [dict(row.fields) for row in rows]


def changes(before: Sequence[Row], after: Sequence[Row]) -> Figures:
    """After minus before, by problem: match of all held-out thoughts, F1 of each part where a step is held.

    Raises:
        UserError: the thoughts are not the same.
    """
    for one, other in zip(before, after, strict=False):
        if _thought(one) != _thought(other):
            raise UserError(
                f"thoughts differ: {_thought(one)} and {_thought(other)}; evaluate on the same ones"
            )
    if len(before) != len(after):
        raise UserError(
            f"{len(before)} thoughts and {len(after)}; evaluate with the same --problems and --wrong"
        )
    pairs = [pair for pair in zip(before, after, strict=True) if pair[0]["traces"] == "heldout"]
    gold = {id(one): gold_stated([one["gold"]] if one["gold"] else []) for one, _ in pairs}
    holding = [pair for pair in pairs if gold[id(pair[0])].results]

    def problems(of: list[tuple[Row, Row]]) -> list[int]:
        questions = {
            question: i for i, question in enumerate(dict.fromkeys(one["question"] for one, _ in of))
        }
        return [questions[one["question"]] for one, _ in of]

    matches = [float(other["match"]) - float(one["match"]) for one, other in pairs]
    found = {"match": figures.mean(matches, problems(pairs))}
    for part in (Part.RESULTS, Part.OPERANDS, Part.OPERATORS, Part.CLAIMS):
        # A partial claim ("= 17") leaves operands and operation open.
        stating = [
            pair for pair in holding if getattr(gold[id(pair[0])], part) or "= " not in pair[0]["gold"]
        ]
        was = [_f1(part, row) for row, _ in stating]
        now = [_f1(part, row) for _, row in stating]
        found[part.value] = figures.change(was, now, problems(stating))
    return found


def _f1(part: Part, row: Row) -> float:
    return f1(row["text"], [row["gold"]])[part]


def _thought(row: Row) -> tuple[str, str, str]:
    return row["traces"], row["question"], row["site"]
