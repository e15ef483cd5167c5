from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from rich.console import Console

from reverse_codi.question_checks import QuestionError
from reverse_codi.reading.measure import Measure
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.records import read_records
from reverse_codi.verbalize import (
    TRUST_THRESHOLD,
    Translation,
    chain_text,
    lens,
    main,
    show,
    translate,
)
from reverse_codi.verbalizer.translate import Translator
from tests.tiny import make_problems, make_tiny_policy, stir

ROW = Translation(
    "Ann has 12 [red] apples.", "h0", "12 + 5 = 17 .", 0.9, 1.0, ["17", "[x]"], "The answer is: 17"
)


def test_the_chain_says_each_trusted_claim_once() -> None:
    def row(text: str, trust: float = 1.0) -> Translation:
        return replace(ROW, translation=text, trust=trust)

    rows = [
        row("12 + 5 = 17 ."),
        row("( no step )"),
        row("9 + 9 = 18 .", trust=0.5),
        row("12 + 5 = 17 . 17 * 0.5 = 8.5 ."),
    ]
    assert chain_text(rows) == "12 + 5 = 17. 17 * 0.5 = 8.5."
    assert chain_text([row("(no step)")]) == "(no step)"
    assert chain_text([row("12 + 5 = 17.", trust=0.0)]) == "(no step)"


def shown(*rows: Translation, chain: bool = False) -> str:
    console = Console(file=io.StringIO(), width=120)
    show(console, rows, chain)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_below_the_threshold_it_says_that_it_does_not_know() -> None:
    low = replace(ROW, translation="9 + 9 = 18.", trust=TRUST_THRESHOLD - 0.01)
    text = shown(ROW, low)
    assert "I do not know (9 + 9 = 18.)" in text
    assert "I do not know (12" not in text
    assert "I do not know (8" in shown(
        replace(ROW, translation="8 + 9 = 17.", match=-0.01)
    )  # silence is nearer
    assert "Ann has 12 [red] apples." in text  # brackets are no markup
    assert "17 [x]" in text
    assert "The answer is: 17" in text
    assert "9 + 9" not in shown(ROW, low, chain=True)


def test_the_lens_is_the_models_own_head(tiny_reasoner: CodiReasoner) -> None:
    chains = tiny_reasoner.think([make_problems(1)[0].question])
    [tops] = lens(tiny_reasoner, chains.readouts[:, 0])
    best = tiny_reasoner.model.logits(chains.readouts[0, 0]).topk(5).indices.tolist()
    special = {tiny_reasoner.config.bot_id: "<bot>", tiny_reasoner.config.eot_id: "<eot>"}
    assert tops == [special.get(i) or tiny_reasoner.decode([i]) or "<?>" for i in best]


@pytest.fixture(scope="module")
def verbalizer(
    tiny_reasoner: CodiReasoner, tiny_measure: Measure, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("verbalizer")
    policy = make_tiny_policy(tiny_reasoner)
    stir(policy)
    policy.save(folder)
    tiny_measure.save(folder)
    return folder


def test_every_thought_of_every_question_is_translated(
    tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], verbalizer: Path
) -> None:
    translator = Translator(tiny_reasoner, tiny_folders[0], verbalizer, max_new_tokens=6)
    measure = Measure.load(verbalizer, tiny_reasoner)
    questions = [p.question for p in make_problems(4)]
    rows = translate(translator, measure, questions)
    chains = tiny_reasoner.think(questions)
    assert [[row.site for row in of_question] for of_question in rows] == [["h0", "h1", "h2"]] * 4
    for k in range(3):
        assert [of[k].translation for of in rows] == translator.greedy(chains.fed[:, k, None])
    row, site = rows[2][1], measure.sites[1]
    predicted = measure.predict([row.translation], [site])
    assert row.match == pytest.approx(
        measure.match(chains.readouts[2:3, 1], predicted, [site]).item(), abs=1e-4
    )
    assert (row.question, row.answer) == (questions[2], chains.outputs[2])
    reranked = translate(translator, measure, questions, samples=3)
    for plain, best in zip(chain(*rows), chain(*reranked), strict=True):
        assert best.match >= plain.match - 1e-5  # the greedy text is among the candidates


def test_sampled_texts_come_back_to_their_own_thought(
    tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], verbalizer: Path
) -> None:
    translator = Translator(tiny_reasoner, tiny_folders[0], verbalizer, max_new_tokens=4)
    slots = torch.randn(3, 1, 32, generator=torch.Generator().manual_seed(0))
    together = translator.sampled(slots, 4)
    assert [len(texts) for texts in together] == [4, 4, 4]
    assert together == translator.sampled(slots, 4)


@pytest.fixture
def verb(tiny_folders: tuple[Path, Path], verbalizer: Path) -> Callable[..., None]:
    """The verb on the tiny folders."""
    return lambda *words: main([*words, "--reasoner", str(tiny_folders[0]), "--verbalizer", str(verbalizer)])


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_the_verb_prints_and_saves(
    verb: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "new" / name
    verb(f"{make_problems(1)[0].question} zebra", "--out", str(out))
    printed = capsys.readouterr()
    assert "argument 1: the model does not know these words: zebra\n" in printed.err
    assert "3 rows written" in printed.out
    assert [row.fields["site"] for row in read_records(str(out)).rows] == ["h0", "h1", "h2"]


def test_rows_are_saved_before_they_are_printed(
    verb: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("reverse_codi.verbalize.show", closed)
    with pytest.raises(BrokenPipeError):
        verb(make_problems(1)[0].question, "--out", str(tmp_path / "rows.jsonl"))
    assert len(read_records(str(tmp_path / "rows.jsonl")).rows) == 3


def test_questions_that_cannot_be_asked_are_refused_or_skipped(
    verb: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, out = make_problems(1)[0].question, tmp_path / "rows.jsonl"
    long = "cups " * 300
    with pytest.raises(QuestionError, match=r"argument 1: the question is empty.*or set --on-bad-question"):
        verb("")
    with pytest.raises(QuestionError, match=r"argument 2: the question has 300 tokens; 240 fit into"):
        verb(good, long)
    verb("", good, long, "--on-bad-question", "skip", "--out", str(out))
    assert "2 of 3 questions skipped:\nargument 1: the question is empty" in capsys.readouterr().err
    assert {row.fields["question"] for row in read_records(str(out)).rows} == {good}
