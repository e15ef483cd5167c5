from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.errors import UserError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.reasoner import ReasonerSection, Source
from reverse_codi.verbalize.publishing.place import Place


def test_where_plain_transformers_find_the_base() -> None:
    public = Source(path="zen-E/CODI-gpt2")
    assert Place(Source(path="me/reasoner"), False, "").base == ['base = "me/reasoner"']
    assert "reverse-codi checkpoint" in Place(public, True, "/here/reasoner").base[-1]
    assert "/here" not in Place(public, True, "/here/reasoner").base[-1]  # of this machine alone
    assert Place(Source(), False, "").base[0] == "from importlib.resources import files"


def test_a_recipe_keeps_what_the_checkpoint_lacks_and_nothing_of_the_machine() -> None:
    section = ReasonerSection(
        path="zen-E/CODI-gpt2", base="openai-community/gpt2", n_thoughts=6, device="cuda", converted="/here"
    )
    assert Place(section, True, "").recorded() == {
        "path": "zen-E/CODI-gpt2",
        "base": "openai-community/gpt2",
        "n_thoughts": 6,
    }


def test_a_reasoner_is_public_on_the_hub_or_in_the_package(
    tiny_reasoner: CodiReasoner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Place.of(tiny_reasoner, Source()).public and Place.of(tiny_reasoner, Source()).hub_id is None
    assert Place.of(tiny_reasoner, None, "me/reasoner").hub_id == "me/reasoner"
    (tmp_path / "me/reasoner").mkdir(parents=True)
    here = Place.of(tiny_reasoner, None, "me/reasoner")
    assert here.hub_id is None
    with pytest.raises(UserError, match="'me/reasoner', a folder that others do not have"):
        here.check_public()
