"""The public way to translate."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml

from reverse_codi import Site, TraceStore, Verbalizer
from reverse_codi.errors import UserError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.question_checks import QuestionError
from reverse_codi.traces.store import StoreError
from reverse_codi.verbalize.translations.reference_texts import reference_texts
from reverse_codi.verbalize.translations.translate import translate
from tests.tiny import make_problems, make_tiny_reasoner

QUESTIONS = [problem.question for problem in make_problems(3)]


@pytest.fixture(scope="module")
def verbalizer(tiny_folders: tuple[Path, Path], tiny_verbalizer: Path) -> Verbalizer:
    return Verbalizer.from_pretrained(tiny_verbalizer, reasoner=tiny_folders[0], max_new_tokens=6)


def test_it_says_what_the_command_says(verbalizer: Verbalizer) -> None:
    given = verbalizer.thoughts_about(QUESTIONS)
    references = reference_texts(verbalizer.translator, verbalizer.metric)
    wanted = translate(verbalizer.translator, verbalizer.metric, references, given)
    assert verbalizer.translate(QUESTIONS).traces == wanted
    [alone] = verbalizer.translate(QUESTIONS[1]).traces
    assert [row.text for row in alone] == [row.translation for row in wanted[1]]
    assert list(map(str, verbalizer.sites)) == ["h0", "h1", "h2"]
    assert repr(verbalizer).startswith(
        "Verbalizer(sites=h0..h2, reasoner=CodiReasoner(thoughts=3, width=32, "
    )


def test_samples_are_reranked(verbalizer: Verbalizer) -> None:
    rows = verbalizer.translate(QUESTIONS[0], samples=2)
    assert len(rows) == 3 and all(row.match is not None for row in rows)


def test_questions_that_cannot_be_asked(verbalizer: Verbalizer, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(QuestionError, match=r"question 2: the question is empty; .* on_bad_question to skip"):
        verbalizer.translate([QUESTIONS[0], ""])
    assert len(verbalizer.translate(["", QUESTIONS[0]], on_bad_question="skip").traces) == 1
    assert "1 of 2 questions skipped" in caplog.text
    verbalizer.translate(f"{QUESTIONS[0]} zebra")
    assert "question 1: the model does not know these words: zebra" in caplog.text
    assert len(verbalizer.translate([])) == 0


@pytest.mark.parametrize("kind", ["numpy", "torch", "half", "list"])
def test_vectors_of_every_shape_and_kind_give_the_same_texts(
    verbalizer: Verbalizer, tiny_reasoner: CodiReasoner, kind: str
) -> None:
    hidden = tiny_reasoner.think(QUESTIONS).hidden_states[:, :3]  # [3, 3, d]
    if kind == "half":
        hidden = hidden.to(torch.bfloat16).float()
    of = {
        "numpy": lambda tensor: tensor.numpy(),
        "torch": lambda tensor: tensor.clone().requires_grad_(),
        "half": lambda tensor: tensor.to(torch.bfloat16),
        "list": lambda tensor: tensor.tolist(),
    }[kind]
    every = verbalizer.translate_vectors(of(hidden), sites="h0..")
    assert [row.site for row in every] == ["h0", "h1", "h2"] * 3
    middle = verbalizer.translate_vectors(of(hidden[:, 1]), site="h1")
    assert [row.text for row in middle] == [rows[1].text for rows in every.traces]
    [one] = verbalizer.translate_vectors(of(hidden[2, 1]), site=Site("h", 1))
    assert one.text == middle[2].text and one.match == pytest.approx(middle[2].match, abs=1e-4)
    two = verbalizer.translate_vectors(of(hidden[:, [2, 0]]), sites=[Site("h", 2), "h0"])
    assert [row.text for row in two.traces[1]] == [every.traces[1][2].text, every.traces[1][0].text]


def test_latent_inputs_are_translated_and_not_scored(
    verbalizer: Verbalizer, tiny_reasoner: CodiReasoner
) -> None:
    chains = tiny_reasoner.think(QUESTIONS)
    rows = verbalizer.translate_vectors(chains.latent_inputs[:, 1], site="z1", questions=QUESTIONS)
    assert [row.text for row in rows] == verbalizer.translator.greedy(chains.latent_inputs[:, 1, None])
    assert {row.match for row in rows} == {None} and [row.question for row in rows] == QUESTIONS
    assert rows[2].source == "the vectors[2]"


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        ((32,), {}, r'give either site="h1", for one vector a row, or sites='),
        ((32,), {"site": "h0", "sites": ["h0"]}, "give either site="),
        (
            (2, 32),
            {"sites": ["h0", "h1"]},
            "the vectors have 1 vector a row, sites names 2: h0 h1; name each",
        ),
        ((2, 2, 2, 32), {"site": "h0"}, r"the vectors have shape \[2, 2, 2, 32\]; give \[d\], \[N, d\]"),
        (
            (2, 31),
            {"site": "h0"},
            r"the vectors: vectors of width 31, the reasoner's have 32; .*reasoner=\.\.\.",
        ),
        ((2, 32), {"site": "answer"}, r"sites answer: only h0\.\. "),
        ((2, 32), {"site": "h9"}, "site h9: this verbalizer knows no such thought"),
        ((2, 32), {"site": "q1"}, "sites: 'q1' is no site"),
        (
            (2, 32),
            {"site": "h0", "questions": ["one"]},
            "1 questions for 2 rows of vectors; give one for each",
        ),
    ],
)
def test_vectors_that_do_not_fit_are_refused(
    verbalizer: Verbalizer, shape: tuple[int, ...], given: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        verbalizer.translate_vectors(torch.zeros(shape), **given)  # type: ignore[arg-type]


def test_numbers_that_are_no_vectors_are_refused(verbalizer: Verbalizer) -> None:
    with pytest.raises(UserError, match=r"the vectors: row 1 \(h0\) holds NaN"):
        verbalizer.translate_vectors(torch.tensor([[0.0] * 32, [float("nan")] * 32]), site="h0")
    with pytest.raises(UserError, match=r"the vectors hold torch\.int64; vectors are floating-point numbers"):
        verbalizer.translate_vectors(torch.arange(32), site="h0")


def test_of_a_store_what_lies_there_is_translated(
    verbalizer: Verbalizer, tiny_traces: TraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tiny_traces.select([3, 1])
    monkeypatch.setattr(CodiReasoner, "think", None)
    rows = verbalizer.translate_store(store)
    assert [of[0].question for of in rows.traces] == store.questions
    assert [of[1].text for of in rows.traces] == verbalizer.translator.greedy(store.latent_inputs[:, 1, None])
    assert rows[0].source == "traces[0]"
    header = store.manifest.header.model_copy(update={"reasoner_hash": "0" * 64})
    other = TraceStore(store.manifest.model_copy(update={"header": header}), store.table)
    with pytest.raises(StoreError, match="is of another reasoner"):
        verbalizer.translate_store(other)


def test_the_recipe_beside_a_verbalizer_names_its_reasoner(
    tiny_folders: tuple[Path, Path], tiny_verbalizer: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_verbalizer, run / "verbalizer")
    (run / "recipe.yaml").write_text(yaml.safe_dump({"reasoner": {"path": str(tiny_folders[0])}}))
    for folder in (run, run / "verbalizer"):
        assert Verbalizer.from_pretrained(folder).reasoner.path == tiny_folders[0]


def test_what_is_no_verbalizer_is_refused(
    tmp_path: Path, tiny_verbalizer: Path, tiny_folders: tuple[Path, Path]
) -> None:
    with pytest.raises(UserError, match=rf"no verbalizer in {tmp_path} or {tmp_path}/verbalizer; train one"):
        Verbalizer.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="reasoner is a dict; translation is for reasoners that feed"):
        Verbalizer.from_pretrained(tiny_verbalizer, reasoner={})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="this reasoner was never saved"):
        Verbalizer.from_pretrained(tiny_verbalizer, reasoner=make_tiny_reasoner())


def test_results_can_be_taken_elsewhere(verbalizer: Verbalizer, tmp_path: Path) -> None:
    rows = verbalizer.translate(QUESTIONS)
    assert len(rows) == 9 and [row.site for row in rows[1:3]] == ["h1", "h2"]
    frame = rows.to_pandas()
    assert list(frame.columns) == list(asdict(rows[0])) and len(frame) == 9
    assert frame.translation.tolist() == [row.text for row in rows]
    assert json.loads(rows.to_json(tmp_path / "rows.json")) == rows.to_dicts()
    assert json.loads((tmp_path / "rows.json").read_text()) == rows.to_dicts()
    assert len(rows.chain()) == 3


def test_results_print_themselves(verbalizer: Verbalizer) -> None:
    rows = verbalizer.translate(QUESTIONS[0])
    first = replace(rows[0], translation="12 + 5 = 17 & <b>", match=0.9, trust=1.0)
    low = replace(rows[0], site="h1", translation="9 + 9 = 18.", match=-1.0)
    shown = type(rows)([[first, low]] * 12)
    text, html = repr(shown), shown._repr_html_()
    assert text.startswith("Translations: 24 of 12 traces\n")
    assert "  h0  12 + 5 = 17 & <b>" in text and "match 0.90  trust 1.00" in text
    assert "I do not know (9 + 9 = 18.): the training mean is nearer" in text
    assert text.endswith("... and 2 more traces; iterate, or use to_pandas()")
    assert "<td>12 + 5 = 17 &amp; &lt;b&gt;</td>" in html and html.count("<table>") == 10
    assert repr(type(rows)([])) == "Translations: 0 of 0 traces"


def test_without_pandas_the_fix_is_named(verbalizer: Verbalizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UserError, match=r"pandas is not installed; run `pip install pandas`, or use to_json"):
        verbalizer.translate(QUESTIONS[0]).to_pandas()
