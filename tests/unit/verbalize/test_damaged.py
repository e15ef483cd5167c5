"""Files of a verbalizer that are cut, changed or missing: each an error with its name and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reverse_codi.errors import UserError
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.rollout.adapter_config import adapter_config
from reverse_codi.storage.manifest import MANIFEST, write_manifest
from reverse_codi.training.best_texts import TEXTS_FILE, BestTexts, Found
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.publishing.folder import EMBEDDED_FOLDER, copy_verbalizer
from reverse_codi.verbalize.publishing.place import Place
from reverse_codi.verbalize.verbalizer import Verbalizer
from tests.damage import cut, flip
from tests.tiny import make_encoded

POLICY = ("adapter_config.json", "adapter_model.safetensors", "verbalizer.json")
Harm = Callable[[Path], Any]


def empty(file: Path) -> None:
    file.write_bytes(b"")


def other_scaling(file: Path) -> None:
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "lora_alpha": 9 * config["lora_alpha"]}, indent=2))


@pytest.fixture
def folder(tiny_verbalizer: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "verbalizer"
    shutil.copytree(tiny_verbalizer, copied)
    (copied / "encoded_steps.json").write_text(make_encoded(3).to_json())
    write_manifest(copied, ("encoded_steps.json",))
    return copied


@pytest.mark.parametrize(
    ("name", "harm"),
    [(name, harm) for name in POLICY for harm in (flip, cut, empty, Path.unlink)]
    + [("adapter_config.json", other_scaling)],
)
def test_a_policy(folder: Path, tiny_reasoner: CodiReasoner, name: str, harm: Harm) -> None:
    Policy.load(folder, tiny_reasoner)
    harm(folder / name)
    with pytest.raises(
        UserError, match=rf"{folder}/{name} (is missing|has .* bytes|was changed).*[Rr]estore"
    ):
        Policy.load(folder, tiny_reasoner)
    if name != "verbalizer.json":
        with pytest.raises((UserError, FileNotFoundError), match=str(folder / name)):
            adapter_config(folder)  # what every rollout actor loads by


@pytest.mark.parametrize("harm", [flip, cut, empty])
def test_maps_and_encoded_steps(folder: Path, tiny_reasoner: CodiReasoner, harm: Harm) -> None:
    for name, load in (
        ("maps.safetensors", lambda: ThoughtMetric.load(folder, tiny_reasoner)),
        ("encoded_steps.json", lambda: EncodedSteps.load(folder)),
    ):
        load()
        harm(folder / name)
        with pytest.raises(UserError, match=rf"{folder / name} (has|was changed).*[Rr]estore"):
            load()


@pytest.mark.parametrize("harm", [cut, empty])
def test_what_version_0_1_wrote_has_no_manifest_and_still_says_which_file_is_cut(
    folder: Path, tiny_reasoner: CodiReasoner, harm: Harm
) -> None:
    (folder / MANIFEST).unlink()
    for name, load in (
        ("verbalizer.json", lambda: Policy.load(folder, tiny_reasoner)),
        ("adapter_config.json", lambda: Policy.load(folder, tiny_reasoner)),
        ("adapter_model.safetensors", lambda: Policy.load(folder, tiny_reasoner)),
        ("maps.safetensors", lambda: ThoughtMetric.load(folder, tiny_reasoner)),
        ("encoded_steps.json", lambda: EncodedSteps.load(folder)),
    ):
        load()
        before = (folder / name).read_bytes()
        harm(folder / name)
        with pytest.raises(UserError, match=rf"^{folder / name} is cut or damaged"):
            load()
        (folder / name).write_bytes(before)


def test_a_missing_adapter_is_not_asked_of_the_hub(folder: Path, tiny_reasoner: CodiReasoner) -> None:
    (folder / MANIFEST).unlink()
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"adapter_model\.safetensors is missing"):
        Policy.load(folder, tiny_reasoner)


def test_a_damaged_one_is_not_copied_under_a_new_manifest(folder: Path, tiny_reasoner: CodiReasoner) -> None:
    place = Place.of(tiny_reasoner, None, "someone/reasoner")
    copy_verbalizer(folder, folder.with_name("copy"), place)
    Policy.load(folder.with_name("copy"), tiny_reasoner)
    flip(folder / "maps.safetensors")
    with pytest.raises(UserError, match=r"maps\.safetensors was changed"):
        copy_verbalizer(folder, folder.with_name("other"), place)


@pytest.mark.parametrize("harm", [flip, cut, empty, Path.unlink])
def test_texts_that_searches_found(tmp_path: Path, harm: Harm) -> None:
    store = BestTexts([Found(0, "h0", "12 + 5 = 17.", 1.0, 0.5, 0.1, 1, 2)])
    for part in ("listed", "before"):
        store.save(tmp_path / part)
        if part == "before":
            (tmp_path / part / MANIFEST).unlink()
        assert BestTexts.load([tmp_path / part]).found == store.found
    harm(tmp_path / "listed" / TEXTS_FILE)
    with pytest.raises(UserError, match=rf"{TEXTS_FILE} (is missing|has|was changed)"):
        BestTexts.load([tmp_path / "listed"])
    if harm is not flip:
        harm(tmp_path / "before" / TEXTS_FILE)
        with pytest.raises(UserError, match=rf"{TEXTS_FILE} is missing, cut or damaged"):
            BestTexts.load([tmp_path / "before"])


def test_the_package_carries_what_its_manifests_say(tmp_path: Path) -> None:
    assert (EMBEDDED_FOLDER / MANIFEST).is_file()
    Verbalizer.from_pretrained()
    copied = tmp_path / "embedded"
    shutil.copytree(EMBEDDED_FOLDER, copied)
    flip(copied / "maps.safetensors")
    with pytest.raises(UserError, match=r"maps\.safetensors was changed or damaged"):
        Verbalizer.from_pretrained(copied)
