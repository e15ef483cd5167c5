"""What is known of public checkpoints: one table, which recipes, the accuracy check and docs agree with."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.checkpoints.known import KNOWN, as_markdown, known, published
from reverse_codi.reasoners.load import import_report, load_reasoner, reasoner_folder
from reverse_codi.recipe.reasoner import LayoutName, Source
from reverse_codi.recipe.schema import load_recipe
from reverse_codi.storage import hub
from tests.unit.reasoners.conformance.layouts import (
    Case,
    K,
    make_answer_only,
    make_coconut,
    make_codi_gpt2,
    make_codi_llama,
    make_sim_cot_coconut,
)

ROOT = Path(__file__).parents[3]
COCONUT = "internlm/SIM_COT-GPT2-Coconut"
PUBLIC = [
    path
    for path in sorted((ROOT / "recipes").glob("*.yaml"))
    if re.search(r"^  path: (?!runs/)", path.read_text(), re.MULTILINE)
]


def test_the_table_holds_what_authors_say_and_where() -> None:
    assert known(COCONUT) is KNOWN[COCONUT]
    counts = {name: facts.n_thoughts.value for name, facts in KNOWN.items() if facts.n_thoughts}
    assert counts.pop(COCONUT) == 10  # c_thought 2, stage 5
    assert set(counts.values()) == {6}
    figures = {name: figure.accuracy for name, facts in KNOWN.items() for figure in facts.published.values()}
    assert figures[COCONUT] == 0.448  # .341 is that of another checkpoint, Meta's
    for facts in KNOWN.values():
        stated = [facts.layout, *filter(None, (facts.n_thoughts, facts.lora_alpha))]
        assert all(fact.source for fact in stated)
        assert all(figure.source and figure.measured for figure in facts.published.values())


def test_a_figure_is_for_one_checkpoint_task_and_number_of_thoughts() -> None:
    figure = published(COCONUT, "gsm8k", 10)
    assert figure is not None
    assert str(figure) == "0.448 (arXiv 2509.20317; GSM8K test set, 1,319 problems; one question at a time)"
    assert published(COCONUT, "gsm8k", 6) is None
    assert published(COCONUT, "svamp", 10) is None
    assert published("someone/else", "gsm8k") is None
    cached = "/home/me/.cache/huggingface/hub/models--zen-E--CODI-gpt2/snapshots/fd641b3"
    assert known(cached) is KNOWN["zen-E/CODI-gpt2"]


@pytest.mark.parametrize("path", PUBLIC, ids=lambda path: path.stem)
def test_recipes_take_their_facts_from_the_table(path: Path) -> None:
    section = load_recipe([str(path)]).reasoner
    facts = known(section.path)
    assert facts is not None
    assert section.n_thoughts is None and section.lora_alpha is None
    assert section.layout in (LayoutName.AUTO, facts.layout.value)
    said = re.findall(r"GSM8K (\d\d\.\d)", path.read_text())
    assert said == [f"{100 * figure.accuracy:.1f}" for figure in facts.published.values()]


def test_the_docs_hold_the_table() -> None:
    text = (ROOT / "docs/reasoners.md").read_text()
    _, table, _ = re.split(r"<!-- (?:known checkpoints|end of known checkpoints)[^\n]*-->\n", text)
    assert table.strip() == as_markdown()


def from_hub(case: Case, name: str, monkeypatch: pytest.MonkeyPatch, **given: object) -> Source:
    """A case as if the hub had it under a name, without what its recipe would give."""
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: case.source.path)
    nothing: dict[str, object] = {"path": name, "n_thoughts": None, "lora_alpha": None}
    return case.source.model_copy(update=nothing | given)


def test_a_known_checkpoint_thinks_as_often_as_it_was_trained_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = from_hub(make_sim_cot_coconut(tmp_path), COCONUT, monkeypatch)
    assert load_reasoner(source).n_thoughts == 10
    report = import_report(reasoner_folder(source))
    assert report is not None and "n_thoughts     10 (InternLM/SIM-CoT Coconut/args/" in str(report)
    fewer = source.model_copy(update={"n_thoughts": 6})
    assert load_reasoner(fewer).n_thoughts == 6
    report = import_report(reasoner_folder(fewer))
    assert report is not None and "6 (given in the recipe; it was trained with 10, InternLM" in str(report)


def test_a_known_layout_needs_its_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the base's tokenizer the keys alone look like another layout, which answers fluently and wrong."""
    source = from_hub(make_codi_llama(tmp_path), "bcywinski/codi_llama1b-answer_only", monkeypatch)
    with pytest.raises(CheckpointError, match=r"the tokenizer lacks <\|bocot\|> and <\|eocot\|>"):
        load_reasoner(source)


@pytest.mark.parametrize("make", [make_codi_gpt2, make_answer_only, make_coconut])
def test_an_unknown_checkpoint_needs_its_number_of_thoughts(
    tmp_path: Path, make: Callable[[Path], Case]
) -> None:
    case = make(tmp_path)
    source = case.source.model_copy(update={"n_thoughts": None, "base": "no/where"})
    message = (
        r"reasoner\.n_thoughts is missing: .* none of the known checkpoints; give the number "
        r"\(6 for zen-E/CODI-gpt2, 10 for internlm/SIM_COT-GPT2-Coconut\)"
    )
    with pytest.raises(CheckpointError, match=message):  # before the base is looked for
        load_reasoner(source)
    assert not Path(source.converted).exists()


def test_an_unknown_lora_needs_its_alpha(tmp_path: Path) -> None:
    case = make_codi_llama(tmp_path)
    with pytest.raises(CheckpointError, match=r"reasoner\.lora_alpha is missing: .*has a LoRA"):
        load_reasoner(case.source.model_copy(update={"lora_alpha": None}))
    without = make_coconut(tmp_path).source.model_copy(update={"lora_alpha": None})
    assert load_reasoner(without).n_thoughts == K
