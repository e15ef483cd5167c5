from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.cli.export import main as export
from reverse_codi.cli.push import main as push
from reverse_codi.errors import UserError
from reverse_codi.verbalize.publishing.folder import reasoner_source


def test_a_dry_run_writes_the_folder_and_uploads_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(["embedded", "me/verbalizer", "--dry-run", str(tmp_path / "folder")])
    printed = capsys.readouterr().out
    assert "README.md" in printed and "nothing was uploaded" in printed
    card = (tmp_path / "folder/README.md").read_text()
    assert "license: apache-2.0" in card and 'from_pretrained("me/verbalizer")' in card


def test_a_folder_is_known_by_its_files(
    tiny_folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push([str(tiny_folders[0]), "me/reasoner", "--dry-run", str(tmp_path / "folder")])
    assert (tmp_path / "folder/reasoner.json").is_file()
    assert 'Reasoner.from_pretrained("me/reasoner")' in (tmp_path / "folder/README.md").read_text()
    with pytest.raises(UserError, match=r"--metrics x\.json is not for a reasoner; leave it out"):
        push([str(tiny_folders[0]), "me/reasoner", "--metrics", "x.json"])
    with pytest.raises(UserError, match=r"holds nothing to share: neither a verbalizer \(verbalizer\.json\)"):
        push([str(tmp_path), "me/nothing"])


def test_export_refuses_a_folder_in_use_before_it_loads_anything(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--merged = .* holds files already"):
        export(["no-verbalizer-at-all", "--merged", str(tmp_path)])


def test_a_recipe_from_the_hub_runs_no_code(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("reasoner: {path: you/reasoner, trust_remote_code: true}\n")
    assert reasoner_source(tmp_path, tmp_path).trust_remote_code  # of one's own folder it may
    with pytest.raises(UserError, match=r"the recipe of you/verbalizer, from the hub, asks for"):
        reasoner_source(tmp_path, "you/verbalizer")
