"""A text in a thought's place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reverse_codi import Patch, Site, Verbalizer
from reverse_codi.errors import UserError
from reverse_codi.reading.interventions.replace import latent_inputs_of_each
from reverse_codi.reasoners.question_checks import QuestionError
from reverse_codi.recipe.reading import Prefix, ReadSpec
from reverse_codi.verbalize.counterfactual import edited_sites, read_as
from tests.tiny import make_problems, make_table_metric, make_tiny_metric, make_tiny_reasoner

QUESTION = make_problems(1)[0].question
CUPS = "Umar has 12 cups. Then he picks 5 more. How many cups are left?"


@pytest.fixture(scope="module")
def verbalizer(tiny_folders: tuple[Path, Path], tiny_verbalizer: Path) -> Verbalizer:
    return Verbalizer.from_pretrained(tiny_verbalizer, reasoner=tiny_folders[0], max_new_tokens=6)


@pytest.fixture(scope="module")
def embedded() -> Verbalizer:
    return Verbalizer.from_pretrained("embedded")


@pytest.mark.parametrize(
    ("text", "answer"), [("12 + 6 = 18.", "18"), ("12 + 3 = 15.", "15"), ("12 + 5 = 17.", "17")]
)
def test_the_answer_is_what_the_edit_says(embedded: Verbalizer, text: str, answer: str) -> None:
    edited = embedded.counterfactual(CUPS, {"h0": text})
    assert edited.answers == ("The answer is: 17", f"The answer is: {answer}")
    assert edited.before.traces == embedded.translate(CUPS).traces
    assert edited.after[0].text == text and edited.after[0].match is not None and edited.after[0].match > 0.8
    assert edited.edits == {"h0": text}


def test_it_shows_itself(embedded: Verbalizer) -> None:
    edited = embedded.counterfactual(CUPS, {Site("h", 0): "12 + 6 = 18."})
    lines = repr(edited).splitlines()
    assert lines[0] == "Counterfactual: h0 says '12 + 6 = 18.'"
    assert lines[1] == "  h0  12 + 5 = 17.  ->  12 + 6 = 18."
    assert lines[-1] == "  The answer is: 17  ->  The answer is: 18"
    html = edited._repr_html_()
    assert "<td>h0</td><td>12 + 5 = 17.</td><td>12 + 6 = 18.</td><td>12 + 6 = 18.</td>" in html
    assert "<td></td><td>The answer is: 17</td><td>-</td><td>The answer is: 18</td>" in html
    frame = edited.to_pandas()
    assert frame.edit[0] == "12 + 6 = 18." and frame.edit[1:].isna().all()
    assert frame.thought.tolist() == ["h0", "h1", "h2", "h3"]


def test_it_feeds_what_the_text_predicts_and_thinks_anew_after_it(verbalizer: Verbalizer) -> None:
    reasoner, metric = verbalizer.reasoner, verbalizer.metric
    edits = {"h2": "4 + 5 = 9.", "h0": "3 + 3 = 6."}
    latent_inputs = latent_inputs_of_each(reasoner, metric, list(edits.values()), [2, 0], [QUESTION] * 2)
    for (site, text), vector in zip(edits.items(), latent_inputs, strict=True):
        assert torch.allclose(verbalizer.latent_inputs([text], site)[0], vector, atol=1e-4)
    fed = torch.zeros(1, 3, reasoner.width)
    fed[0, [2, 0]] = latent_inputs
    patched = reasoner.think([QUESTION], Patch(fed, torch.tensor([[True, False, True]])))
    after = verbalizer.counterfactual(QUESTION, edits).after
    assert [row.answer for row in after] == patched.outputs * 3
    own = verbalizer.translate_vectors(patched.hidden_states[:, 1], site="h1", questions=[QUESTION])[0]
    assert (after[1].text, after[1].match) == (own.text, pytest.approx(own.match, abs=1e-5))
    read = verbalizer.translate_vectors(metric.predict([edits["h2"]], [Site("h", 2)]), site="h2")[0]
    assert (after[2].text, after[2].match) == (read.text, pytest.approx(read.match, abs=1e-5))


def test_what_cannot_be_edited_is_named(verbalizer: Verbalizer) -> None:
    text = "3 + 3 = 6."
    for name in ("h3", "z0", "answer"):
        with pytest.raises(UserError, match=rf"site {name}: .* reads no text as that .*choose from h0 h1 h2"):
            verbalizer.latent_inputs([text], name)
    with pytest.raises(UserError, match="'thought 1'"):
        verbalizer.counterfactual(QUESTION, {"thought 1": text})
    with pytest.raises(UserError, match="edits of no thought; name each thought once"):
        verbalizer.counterfactual(QUESTION, {})
    with pytest.raises(UserError, match="edits of h1 h1; name each thought once"):
        verbalizer.counterfactual(QUESTION, {"h1": text, Site("h", 1): text})  # type: ignore[dict-item]
    with pytest.raises(QuestionError, match="the question is empty"):
        verbalizer.counterfactual("", {"h1": text})
    with pytest.raises(UserError, match=r"site h0: .*; it reads whole traces only"):
        edited_sites(make_table_metric({text: [0.0]}, Site("answer")), ["h0"])


def test_maps_that_read_after_the_question_need_it() -> None:
    metric = make_tiny_metric(make_tiny_reasoner(), ReadSpec(prefix=Prefix.QUESTION), n=64)
    text, site = "3 + 3 = 6.", Site("h", 0)
    with pytest.raises(UserError, match="0 questions for 1 texts; give one for each"):
        read_as(metric, [text], [site], None)
    with_question = read_as(metric, [text], [site], [QUESTION])
    assert torch.equal(with_question, metric.predict([text], [site], [QUESTION]))
    assert not torch.equal(with_question, read_as(metric, [text], [site], [CUPS]))
