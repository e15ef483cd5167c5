"""Checkpoints of reasoners, and verbalizers, with one file changed or damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.verbalize.translations.translations import Translations
from reverse_codi.verbalize.verbalizer import Verbalizer
from tests.fuzz.cases import cases, ends_well
from tests.fuzz.damage import changed_file, damaged
from tests.fuzz.folders import Folder
from tests.tiny import make_problems

QUESTION = make_problems(1)[0].question


@pytest.fixture(scope="module")
def checkpoint(tiny_folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tiny_folders[0], tmp_path_factory.mktemp("checkpoint") / "copy")


@pytest.fixture(scope="module")
def verbalizer(tiny_verbalizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    root = tmp_path_factory.mktemp("fuzzed-verbalizer")
    shutil.copytree(tiny_verbalizer, root / "whole")
    (root / "whole/recipe.yaml").write_text("reasoner: {path: embedded}\ngrpo: {max_new_tokens: 8}\n")
    return Folder(root / "whole", root / "copy")


@pytest.fixture(scope="module")
def reasoner(tiny_folders: tuple[Path, Path]) -> CodiReasoner:
    return CodiReasoner.from_pretrained(tiny_folders[0])


def changed(data: st.DataObject, folder: Folder, names: list[str]) -> Path:
    """The folder with one of its files changed: JSON by its values, weights by a NaN, all by their bytes."""
    name = data.draw(st.sampled_from(names))
    whole = folder.whole[name]
    return folder.with_file(
        name, data.draw(changed_file(whole) if name.endswith(".json") else damaged(whole))
    )


@cases("checkpoints")
@given(data=st.data())
def test_a_damaged_checkpoint_is_loaded_or_named(data: st.DataObject, checkpoint: Folder) -> None:
    names = [name for name in sorted(checkpoint.whole) if name != "README.md"]
    folder = changed(data, checkpoint, names)

    def work() -> None:
        reasoner = load_reasoner(str(folder))
        chains = reasoner.think([QUESTION])
        assert chains.hidden_states.isfinite().all() and isinstance(chains.outputs[0], str)
        assert all(state.isfinite().all() for state in reasoner.read(["12 + 5 = 17."]))

    ends_well(work, folder, "positions", "12 + 5 = 17.", "cue")


@cases("verbalizers")
@given(data=st.data())
def test_a_damaged_verbalizer_is_loaded_or_named(
    data: st.DataObject, verbalizer: Folder, reasoner: CodiReasoner
) -> None:
    names = [name for name in sorted(verbalizer.whole) if name != "README.md"]
    folder = changed(data, verbalizer, names)

    def work() -> Translations:
        return Verbalizer.from_pretrained(folder, reasoner).translate(QUESTION)

    rows = ends_well(work, folder)
    assert rows is None or all(isinstance(row.text, str) for row in rows)


def test_the_whole_ones_are_loaded(
    checkpoint: Folder, verbalizer: Folder, tiny_folders: tuple[Path, Path], tiny_reasoner: CodiReasoner
) -> None:
    """Else the cases above would prove nothing."""
    folder = checkpoint.with_file("config.json", checkpoint.whole["config.json"])
    again = load_reasoner(str(folder))
    assert torch.equal(again.think([QUESTION]).hidden_states, tiny_reasoner.think([QUESTION]).hidden_states)
    folder = verbalizer.with_file("verbalizer.json", verbalizer.whole["verbalizer.json"])
    assert json.loads(verbalizer.whole["adapter_config.json"])["peft_type"] == "LORA"
    assert len(
        Verbalizer.from_pretrained(folder, CodiReasoner.from_pretrained(tiny_folders[0])).translate(QUESTION)
    )
