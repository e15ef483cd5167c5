from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from reverse_codi.cli.verbalize import main, save, show
from reverse_codi.errors import UserError
from reverse_codi.reading.lens import lens
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.question_checks import QuestionError
from reverse_codi.tasks.records import read_records
from reverse_codi.traces.imports import import_arrays
from reverse_codi.traces.store import StoreError, TraceStore
from reverse_codi.verbalize.translations.record import TRUST_THRESHOLD, Translation
from reverse_codi.verbalize.translator import Translator
from tests.fakes import printed, screen
from tests.tiny import make_problems

ROW = Translation(
    "Ann has 12 [red] apples.", "h0", "12 + 5 = 17 .", 0.9, 1.0, ["17", "[x]"], "The answer is: 17"
)


def shown(*rows: Translation, chain: bool = False) -> str:
    console = screen(120)
    show(console, rows, chain)
    return printed(console)


def test_below_the_threshold_it_says_that_it_does_not_know() -> None:
    low = replace(ROW, translation="9 + 9 = 18.", trust=TRUST_THRESHOLD - 0.01)
    text = shown(ROW, low)
    assert "I do not know (9 + 9 = 18.)" in text and "11% of wrong thoughts fit as well" in text
    assert "I do not know (12" not in text
    assert "I do not know (8" in shown(
        replace(ROW, translation="8 + 9 = 17.", match=-0.01)
    )  # silence is nearer
    assert "Ann has 12 [red] apples." in text  # brackets are no markup
    assert "17 [x]" in text
    assert "The answer is: 17" in text
    assert "9 + 9" not in shown(ROW, low, chain=True)


def test_what_is_unknown_is_shown_as_such() -> None:
    row = replace(ROW, question=None, source="z.npy[3]", match=None, trust=None, lens=None, answer=None)
    text = shown(row)
    assert "z.npy[3]" in text and "12 + 5 = 17 ." in text
    assert "I do not know" not in text and "None" not in text
    assert text.split()[-3:] == ["-"] * 3


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_saved_rows_read_back(tmp_path: Path, name: str) -> None:
    unscored = replace(ROW, question=None, match=None, trust=None, lens=None, answer=None, source="z[0]")
    save([ROW, replace(ROW, site="h1"), unscored], tmp_path / name)
    if name.endswith("parquet"):
        rows = Dataset.from_parquet(str(tmp_path / name)).to_list()
    else:
        rows = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
    assert rows == [asdict(ROW), asdict(replace(ROW, site="h1")), asdict(unscored)]
    assert [row["trusted"] for row in rows] == [True, True, None]


def test_the_lens_is_the_models_own_head(tiny_reasoner: CodiReasoner) -> None:
    chains = tiny_reasoner.think([make_problems(1)[0].question])
    [tops] = lens(tiny_reasoner, chains.hidden_states[:, 0])
    best = tiny_reasoner.model.logits(chains.hidden_states[0, 0]).topk(5).indices.tolist()
    special = {tiny_reasoner.config.bot_id: "<bot>", tiny_reasoner.config.eot_id: "<eot>"}
    assert tops == [special.get(i) or tiny_reasoner.decode([i]) or "<?>" for i in best]


@pytest.fixture
def verb(tiny_folders: tuple[Path, Path], tiny_verbalizer: Path) -> Callable[..., None]:
    """The verb on the tiny folders."""
    return lambda *words: main(
        [*words, "--reasoner", str(tiny_folders[0]), "--verbalizer", str(tiny_verbalizer)]
    )


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

    monkeypatch.setattr("reverse_codi.cli.verbalize.show", closed)
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


def called(
    words: list[str], tiny_folders: tuple[Path, Path], verbalizer: Path, out: Path
) -> list[dict[str, Any]]:
    main([*words, "--reasoner", str(tiny_folders[0]), "--verbalizer", str(verbalizer), "--out", str(out)])
    return [json.loads(line) for line in out.read_text().splitlines()]


def make_noise_store(folder: Path, reasoner: CodiReasoner, **header: str) -> TraceStore:
    """Noise as the thoughts about real questions."""
    questions = [problem.question for problem in make_problems(3)]
    noise, k, d = np.random.default_rng(0), reasoner.n_thoughts, reasoner.width
    arrays = {
        "hidden_states": noise.normal(size=(3, k + 1, d)),
        "latent_inputs": noise.normal(size=(3, k, d)),
    }
    return import_arrays(folder, arrays, {"questions": questions, **header})


def test_of_a_store_what_lies_there_is_translated(
    tiny_reasoner: CodiReasoner,
    tiny_folders: tuple[Path, Path],
    tiny_verbalizer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = make_noise_store(tmp_path / "noise", tiny_reasoner, reasoner_hash=tiny_reasoner.content_hash)
    monkeypatch.setattr(CodiReasoner, "think", None)  # nothing is thought anew
    rows = called([str(tmp_path / "noise")], tiny_folders, tiny_verbalizer, tmp_path / "rows.jsonl")
    metric = ThoughtMetric.load(tiny_verbalizer, tiny_reasoner)
    translator = Translator(tiny_reasoner, tiny_verbalizer)
    for k, site in enumerate(metric.sites):
        of_site = [row for row in rows if row["site"] == str(site)]
        texts = [row["translation"] for row in of_site]
        assert texts == translator.greedy(store.latent_inputs[:, k, None])
        match = metric.match(store.vectors(site), metric.predict(texts, [site] * 3), [site] * 3)
        assert [row["match"] for row in of_site] == pytest.approx(match.tolist(), abs=1e-4)
    assert [row["question"] for row in rows[::3]] == store.questions
    assert rows[3]["source"] == f"{tmp_path / 'noise'}[1]"
    assert {row["answer"] for row in rows} == {None}
    assert all("trusted" in row and row["reason"] for row in rows)


def test_a_store_of_another_reasoner_is_refused_before_any_work(
    tiny_reasoner: CodiReasoner,
    tiny_folders: tuple[Path, Path],
    tiny_verbalizer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_noise_store(tmp_path / "noise", tiny_reasoner, reasoner_hash="0" * 64)
    monkeypatch.setattr(CodiReasoner, "think", None)
    monkeypatch.setattr("reverse_codi.verbalize.verbalizer.Verbalizer", None)
    with pytest.raises(StoreError) as error:
        called([str(tmp_path / "noise")], tiny_folders, tiny_verbalizer, tmp_path / "rows.jsonl")
    assert "0" * 64 in str(error.value) and tiny_reasoner.content_hash in str(error.value)


def test_fed_vectors_from_a_file_are_translated_and_not_scored(
    tiny_reasoner: CodiReasoner,
    tiny_folders: tuple[Path, Path],
    tiny_verbalizer: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chains = tiny_reasoner.think([problem.question for problem in make_problems(2)])
    np.save(tmp_path / "z.npy", chains.latent_inputs.numpy())
    words = ["--vectors", str(tmp_path / "z.npy"), "--sites", "z0.."]
    rows = called(words, tiny_folders, tiny_verbalizer, tmp_path / "rows.jsonl")
    assert [row["site"] for row in rows] == ["z0", "z1", "z2"] * 2
    translator = Translator(tiny_reasoner, tiny_verbalizer)
    assert [row["translation"] for row in rows[1::3]] == translator.greedy(chains.latent_inputs[:, 1, None])
    for row in rows:
        assert row["match"] is row["trust"] is row["lens"] is row["question"] is row["answer"] is None
    assert {row["trusted"] for row in rows} <= {None, False}
    assert rows[4]["source"].endswith("z.npy[1]")
    with pytest.raises(UserError, match="samples 2: z0 is not scored"):
        called([*words, "--samples", "2"], tiny_folders, tiny_verbalizer, tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vectors", "z.npy"], "--vectors and --sites go together"),
        (["How many?", "--sites", "h0"], "--vectors and --sites go together"),
        (["--vectors", "z.npy", "--sites", "z0", "--", "How many?"], "give questions or --vectors"),
    ],
)
def test_vectors_need_their_sites(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err
