from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.storage import folders
from reverse_codi.storage.files import temporary_name, write_whole
from reverse_codi.storage.folders import FORMER, clear_temporary, restore_former, whole_files, whole_folder


def write(folder: Path, word: str) -> None:
    with whole_folder(folder) as temporary:
        (temporary / word).touch()


def test_this_file_system_exchanges_folders_at_once(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write(tmp_path / name, name)
    assert folders._exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one/other").is_file() and (tmp_path / "other/one").is_file()
    assert not folders._exchange(tmp_path / "one", tmp_path / "nowhere")


def test_where_none_does_the_former_makes_room_and_a_kill_between_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    folder = tmp_path / "best"
    write(folder, "old")
    write(folder, "new")
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]
    folder.rename(tmp_path / f"best{FORMER}")  # killed between the two renames
    restore_former(folder)
    assert [path.name for path in folder.iterdir()] == ["new"]
    folder.rename(tmp_path / f"best{FORMER}")
    clear_temporary(tmp_path)  # as the next run does
    assert [path.name for path in folder.iterdir()] == ["new"]
    (tmp_path / f"best{FORMER}").mkdir()  # killed after them
    write(folder, "newer")
    assert list(tmp_path.iterdir()) == [folder]


def test_files_take_their_places_beside_what_is_there(tmp_path: Path) -> None:
    write_whole(tmp_path / "kept", "kept")
    write_whole(tmp_path / "a", "old")
    with whole_files(tmp_path) as temporary:
        assert temporary.parent == tmp_path
        for name in ("a", "b"):
            (temporary / name).write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "kept": "kept", "a": "new", "b": "new",
    }  # fmt: skip
    with pytest.raises(KeyError), whole_files(tmp_path) as temporary:
        (temporary / "a").write_text("half")
        raise KeyError
    assert (tmp_path / "a").read_text() == "new" and len(list(tmp_path.iterdir())) == 3


def test_what_killed_processes_were_writing_goes_and_files_of_others_stay(tmp_path: Path) -> None:
    deep = tmp_path / "grpo"
    temporary_name(deep / "best").mkdir(parents=True)
    temporary_name(tmp_path / "a.json").touch()
    (tmp_path / "my_notes.tmp").touch()
    clear_temporary(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["grpo", "my_notes.tmp"]
