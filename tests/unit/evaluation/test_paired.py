"""Comparing two evaluations of the same thoughts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.cli.paired import main
from reverse_codi.errors import UserError
from reverse_codi.evaluation.paired import changes, texts_of


def row(text: str, question: str = "q", gold: str = "12 + 5 = 17.", match: float = 0.5) -> dict[str, Any]:
    return {
        "traces": "heldout",
        "question": question,
        "site": "h1",
        "text": text,
        "gold": gold,
        "match": match,
    }


BEFORE = [row("12 + 5 = 17."), row("8 + 9 = 17.", "r"), row("", "s", gold="(no step)", match=0.0)]
AFTER = [row("12 + 5 = 17.", match=0.8), row("12 + 5 = 17.", "r"), row("1 + 1 = 2.", "s", "(no step)", 0.3)]


def test_each_part_is_compared_on_thoughts_that_hold_a_step() -> None:
    found = changes(BEFORE, AFTER)
    assert found["match"].value == pytest.approx(0.2)
    assert {name: (found[name].value, found[name].n) for name in found if name != "match"} == {
        "results": (0.0, 2),
        "operands": (0.5, 2),
        "operators": (0.0, 2),
        "claims": (0.5, 2),
    }
    assert changes(AFTER, BEFORE)["claims"].value == -0.5
    assert found["operators"].low == -found["operators"].high < -0.5  # unchanged in two problems: no proof


def test_a_sentence_is_compared_too() -> None:
    before, after = (row(text, gold="Tom is a bolim.") for text in ("Amy is a bolim.", "Tom is a bolim."))
    found = changes([before], [after])
    assert (found["results"].value, found["operands"].value) == (0.0, 1.0)


def test_other_thoughts_are_refused() -> None:
    with pytest.raises(UserError, match=r"thoughts differ.*'r'.*'t'"):
        changes(BEFORE, [AFTER[0], row("", "t")])
    with pytest.raises(UserError, match="3 thoughts and 1"):
        changes(BEFORE, AFTER[:1])


def test_the_verb_prints_a_line_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rows in (("a", BEFORE), ("b", AFTER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "texts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    main([str(tmp_path / "a"), str(tmp_path / "b")])
    out = capsys.readouterr().out
    assert "0.500" in out and "same" not in out
    main([str(tmp_path / "a"), str(tmp_path / "a")])
    assert "every text is the same as in" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(UserError, match=r"no .*texts\.jsonl"):
        texts_of(tmp_path)
