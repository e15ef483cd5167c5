from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from reverse_codi.errors import UserError
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.storage.stages import file_hash, record
from reverse_codi.verbalize.config import Injection
from reverse_codi.verbalize.publishing.adapter_card import checkpoints_card
from reverse_codi.verbalize.publishing.figures import MetricsError
from reverse_codi.verbalize.publishing.merged import export_merged
from reverse_codi.verbalize.verbalizer import Verbalizer
from tests.tiny import make_problems, make_tiny_metric, make_tiny_policy, make_tiny_reasoner, stir

QUESTION = make_problems(1)[0].question


@pytest.fixture(scope="module")
def embedded() -> Verbalizer:
    return Verbalizer.from_pretrained("embedded")


@pytest.fixture
def folder(tiny_verbalizer: Path, tiny_folders: tuple[Path, Path], tmp_path: Path) -> Path:
    """A verbalizer whose recipe names its reasoner by folder."""
    run = tmp_path / "run"
    shutil.copytree(tiny_verbalizer, run / "verbalizer")
    recipe = {"reasoner": {"path": str(tiny_folders[0]), "device": "cpu"}, "grpo": {"max_new_tokens": 12}}
    (run / "verbalizer/recipe.yaml").write_text(yaml.safe_dump(recipe))
    return run / "verbalizer"


def figure(value: float | None, low: float | None = None) -> dict[str, Any]:
    high = None if value is None or low is None else value + 0.01
    return {"value": value, "low": low, "high": high, "n": 300}


METRICS = {
    "operands": figure(0.5, 0.44),
    "faithful.swap": figure(None),
    "match.whitened": figure(0.7321, 0.71),
    "baselines.gold.operands": figure(1.0, 0.99),
    "baselines.question_only.operands": figure(0.25, 0.2),
    "baselines.question_only.match.whitened": figure(None),
}


def code(card: Path, nth: int) -> str:
    """The nth block of Python in a card."""
    return card.read_text().split("```python\n")[nth + 1].split("```")[0]


def run(program: str, thoughts: torch.Tensor, where: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that a card's code leaves, run on thoughts [S, d]."""
    monkeypatch.chdir(where)
    torch.save(thoughts, "thoughts.pt")
    names: dict[str, Any] = {}
    exec(compile(program, "card", "exec"), names)
    return names


def said_by(program: str, thoughts: torch.Tensor, where: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    text: str = run(program, thoughts, where, monkeypatch)["text"]
    return text


# ---- the card of a verbalizer


def test_a_saved_verbalizer_loads_and_says_what_it_is(folder: Path, tmp_path: Path) -> None:
    verbalizer = Verbalizer.from_pretrained(folder)
    verbalizer.save_pretrained(tmp_path / "saved", license="mit")
    card = ModelCard.load(tmp_path / "saved/README.md")
    assert (card.data.library_name, card.data.license, card.data.base_model) == ("reverse_codi", "mit", None)
    assert {"reverse_codi", "peft", "latent-reasoning"} <= set(card.data.tags)
    assert f"content hash `{verbalizer.reasoner.content_hash}`" in card.text
    assert "sites h0, h1, h2; width 32" in card.text and "point numbers" in card.text
    assert "None was made" in card.text and "reverse-codi evaluate" in card.text
    again = Verbalizer.from_pretrained(tmp_path / "saved")
    assert again.translator.max_new_tokens == 12
    assert again.translate(QUESTION).to_dicts() == verbalizer.translate(QUESTION).to_dicts()
    assert again.references == verbalizer.references
    assert json.loads((tmp_path / "saved/adapter_config.json").read_text())["base_model_name_or_path"] is None


def test_saving_into_its_own_folder_keeps_it(folder: Path) -> None:
    before = (folder / "adapter_model.safetensors").read_bytes()
    Verbalizer.from_pretrained(folder).save_pretrained(folder)
    assert (folder / "adapter_model.safetensors").read_bytes() == before
    Verbalizer.from_pretrained(folder)


def test_figures_stand_beside_their_controls(folder: Path, tmp_path: Path) -> None:
    verbalizer = Verbalizer.from_pretrained(folder)
    out = tmp_path / "evaluation"
    record(
        out, {"verbalizer": {"adapter_model.safetensors": file_hash(folder / "adapter_model.safetensors")}}
    )
    (out / "metrics.json").write_text(json.dumps(METRICS))
    verbalizer.save_pretrained(tmp_path / "saved", metrics=out / "metrics.json")
    rows = [line for line in (tmp_path / "saved/README.md").read_text().splitlines() if line.startswith("| ")]
    assert "| figure | verbalizer | gold | question_only | problems |" in rows
    assert "| operands (`operands`) | **0.500 [0.440, 0.510]** | 1.000 | 0.250 | 300 |" in rows
    assert "| match (`match.whitened`) | **0.732 [0.710, 0.742]** |  |  | 300 |" in rows
    assert not any("faithful.swap" in row for row in rows)  # nothing was counted


def test_figures_beside_the_verbalizer_are_taken_only_if_they_are_its_own(
    folder: Path, tmp_path: Path
) -> None:
    verbalizer = Verbalizer.from_pretrained(folder)
    beside = folder.parent / "evaluate"
    record(beside, {"verbalizer": {"adapter_model.safetensors": "0" * 16}})
    (beside / "metrics.json").write_text(json.dumps(METRICS))
    verbalizer.save_pretrained(tmp_path / "saved")
    assert "None was made" in (tmp_path / "saved/README.md").read_text()
    with pytest.raises(MetricsError, match=r"has figures of another verbalizer .*; evaluate this one"):
        verbalizer.save_pretrained(tmp_path / "other", metrics=beside / "metrics.json")
    assert not (tmp_path / "other").exists()
    (beside / "inputs.json").unlink()
    verbalizer.save_pretrained(tmp_path / "saved")
    assert "**0.500" in (tmp_path / "saved/README.md").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no .*metrics.json; reverse-codi evaluate"),
        ("[1]", "is no metrics.json of reverse-codi evaluate"),
        ('{"operands": 3}', "is no metrics.json of reverse-codi evaluate"),
        ('{"baselines.gold.operands": {"value": 1}}', "evaluate the verbalizer itself, not a control alone"),
    ],
)
def test_a_file_without_figures_is_refused(
    folder: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(MetricsError, match=message):
        Verbalizer.from_pretrained(folder).save_pretrained(tmp_path / "x", metrics=tmp_path / "metrics.json")


def test_a_reasoner_that_others_lack_is_named_by_its_hub_id(folder: Path, tmp_path: Path) -> None:
    verbalizer = Verbalizer.from_pretrained(folder)
    with pytest.raises(UserError, match=r"a folder that others do not have; push it first .*--reasoner"):
        verbalizer.push_to_hub("me/verbalizer")
    with pytest.raises(UserError, match="a folder that others do not have"):
        verbalizer.push_to_hub("me/verbalizer", reasoner=str(tmp_path))
    verbalizer.writer("me/verbalizer", "me/reasoner")(tmp_path / "pushed")
    recipe = yaml.safe_load((tmp_path / "pushed/recipe.yaml").read_text())
    assert recipe["reasoner"] == {"path": "me/reasoner"} and recipe["grpo"] == {"max_new_tokens": 12}
    assert 'base = "me/reasoner"' in (tmp_path / "pushed/README.md").read_text()


# ---- without this package


def test_the_embedded_verbalizer_says_the_same_in_plain_peft(
    embedded: Verbalizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.save_pretrained(tmp_path / "saved")
    thoughts = embedded.reasoner.think([QUESTION]).latent_inputs[0]
    program = code(tmp_path / "saved/README.md", 1)
    assert "import reverse_codi" not in program and "from reverse_codi" not in program
    for thought, row in zip(thoughts, embedded.translate(QUESTION), strict=True):
        assert said_by(program, thought[None], tmp_path, monkeypatch) == row.text


def test_the_page_of_the_hub_shows_that_code(
    embedded: Verbalizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    embedded.save_pretrained("verbalizer")
    page = (Path(__file__).parents[4] / "docs/hub.md").read_text()
    [shown] = re.findall(r"<!-- plain peft and transformers -->\n```python\n(.*?)```", page, flags=re.S)
    assert shown == code(tmp_path / "verbalizer/README.md", 1)


def test_words_slots_and_length_of_a_prompt_are_in_the_cards_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasoner = make_tiny_reasoner(n_thoughts=2)
    reasoner.save_pretrained(tmp_path / "reasoner")
    metric = make_tiny_metric(reasoner)
    for name, template in (("apart", "Ann has {thought} and {thought} ."), ("together", "{thought} cups")):
        policy = make_tiny_policy(reasoner, n_slots=2)
        policy.verbalizer_config = policy.verbalizer_config.model_copy(
            update={"template": template, "injection": Injection(norm=3.0)}
        )
        stir(policy)
        policy.save(tmp_path / name)
        ThoughtMetric(metric.reader, {ANSWER: metric.map_of(Site("h", 0))}).save(tmp_path / name)
        verbalizer = Verbalizer.from_pretrained(tmp_path / name, tmp_path / "reasoner", max_new_tokens=9)
        verbalizer.save_pretrained(tmp_path / f"{name}-saved")
        thoughts = reasoner.think([QUESTION]).latent_inputs[0, :2]
        names = run(code(tmp_path / f"{name}-saved/README.md", 1), thoughts, tmp_path, monkeypatch)
        # By ids: an untrained model also writes tokens that have no string, of which only ours shows a trace.
        said = reasoner.decode(names["ids"][0].tolist())
        assert said and said == verbalizer.translator.greedy(thoughts[None])[0]


def test_a_merged_verbalizer_says_the_same_in_plain_transformers(
    embedded: Verbalizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = export_merged(embedded, tmp_path / "merged")
    assert not list(folder.glob("adapter*")) and not (folder / "projection.safetensors").exists()
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "transformers" and "--enable-prompt-embeds" in card.text
    program = code(folder / "README.md", 0)
    thoughts = embedded.reasoner.think([QUESTION]).latent_inputs[0]
    for thought, row in zip(thoughts, embedded.translate(QUESTION), strict=True):
        assert said_by(program, thought[None], tmp_path, monkeypatch) == row.text
    with pytest.raises(UserError, match="holds files already; give an empty or a new folder"):
        export_merged(embedded, folder)


# ---- on the way to a verbalizer


def test_a_policys_folder_has_our_card_and_not_pefts(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    policy = make_tiny_policy(tiny_reasoner)
    policy.save(tmp_path / "warm")
    policy.model.save_pretrained(str(tmp_path / "checkpoint"))  # as a Trainer does
    for name in ("warm", "checkpoint"):
        card = ModelCard.load(tmp_path / name / "README.md")
        assert card.data.library_name == "reverse_codi"
        assert tiny_reasoner.content_hash in card.text and "Model Card for" not in card.text
    assert "--resume" in checkpoints_card(policy.verbalizer_config)
