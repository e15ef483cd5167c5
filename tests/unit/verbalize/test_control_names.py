"""Names of control tokens in a user's text stay text, whichever way the text comes in."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from torch import Tensor

from reverse_codi.app.asking import Thinking, compared
from reverse_codi.cli.verbalize import main
from reverse_codi.evaluation.reward_trials.bench import Bench, TrialSource
from reverse_codi.evaluation.reward_trials.texts import texts_of
from reverse_codi.evaluation.reward_trials.trial import score
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.reward import RewardItem, RewardSection
from reverse_codi.rewards.registry import find_functions
from reverse_codi.tasks import make_task
from reverse_codi.tasks.base import Split
from reverse_codi.tasks.records import read_records
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.verbalize.verbalizer import Verbalizer

NAMES = ("<eos>", "<pad>", "<unk>")
QUESTION = "Umar owns 9 cups. <eos> <pad> <unk> Then he picks 3 more. How many cups are left?"
TEXT = "9 + 3 = 12. <eos> <pad>12<unk>"


@pytest.fixture
def verbalizer() -> Verbalizer:
    return Verbalizer.from_pretrained("embedded")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[int]]]:
    """Token ids that the model is given, row by row; an empty text is the end-of-text token alone."""
    rows: list[list[int]] = []
    padded = CodiReasoner.left_padded

    def spied(self: CodiReasoner, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        rows.extend(map(list, ids))
        return padded(self, ids)

    monkeypatch.setattr(CodiReasoner, "left_padded", spied)
    yield rows
    assert rows, "the model was given nothing"
    pad, eos, unknown = 0, 1, 2
    assert any(unknown in row for row in rows)  # so these texts were among them
    assert not [
        row
        for row in rows
        if pad in row or eos in row[1:] or (eos in row and len(row) > 1 and unknown in row and row[0] != eos)
    ]


def test_a_question_that_is_translated(
    verbalizer: Verbalizer, given: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "reverse_codi"):
        assert len(verbalizer.translate(QUESTION)) == 4
    assert all(name in caplog.text for name in NAMES)


def test_a_question_of_the_command_and_of_a_file(
    tmp_path: Path, given: list[list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"question": QUESTION}) + "\n")
    main([QUESTION, str(file)])
    said = capsys.readouterr().err
    assert said.count("<eos>, <pad>, <unk>") == 2


def test_a_thought_that_is_edited_and_a_text_that_is_read(
    verbalizer: Verbalizer, given: list[list[int]]
) -> None:
    assert verbalizer.latent_inputs([TEXT], "h0").isfinite().all()
    assert verbalizer.counterfactual(QUESTION, {"h0": TEXT}).edits == {"h0": TEXT}


def test_the_page(verbalizer: Verbalizer, given: list[list[int]]) -> None:
    thinking = Thinking.about(verbalizer, QUESTION)
    assert thinking.question == QUESTION
    assert thinking.with_edits({"h0": TEXT}).edits == {"h0": TEXT}
    assert len(compared({"one": verbalizer}, QUESTION)) == 4


def test_traces_of_a_task_file(
    verbalizer: Verbalizer, tmp_path: Path, given: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"question": f"{QUESTION} {i}", "answer": i} for i in range(40)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = TraceRequest(split=Split.TRAIN, n=5, seed=0, out=tmp_path / "traces")
    with caplog.at_level(logging.WARNING, "reverse_codi"):
        store = collect(verbalizer.reasoner, make_task("jsonl", source=str(file)), asked)
    assert all(question.startswith(QUESTION) for question in store.questions)
    assert "5 of 5 questions hold words or numbers unknown to the model" in caplog.text


def test_texts_that_a_reward_is_tried_on(tmp_path: Path, given: list[list[int]]) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text(json.dumps({"question": QUESTION, "site": "h0", "text": TEXT}) + "\n")
    bench = Bench.of(TrialSource(problems=2))
    [record] = find_functions(RewardSection(functions=[RewardItem(name="hidden_match")]))
    [value] = score(record, texts_of(read_records(str(file)), bench), bench)
    assert value is not None
