from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.files import whole_file, whole_folder, write_whole


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, "old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "best"
    for word in ("old", "new"):
        with whole_folder(folder) as temporary:
            (temporary / word).touch()
            assert temporary.parent == folder.parent
        assert [file.name for file in folder.iterdir()] == [word]
    with pytest.raises(OSError, match="full"), whole_folder(folder) as temporary:
        (temporary / "half").touch()
        raise OSError("full")
    assert [file.name for file in folder.iterdir()] == ["new"]
    assert list(folder.parent.iterdir()) == [folder]


def test_one_that_another_process_made_meanwhile_can_stay(tmp_path: Path) -> None:
    folder = tmp_path / "converted"
    with whole_folder(folder, replace=False) as temporary:
        (temporary / "mine").touch()
        folder.mkdir()
        (folder / "theirs").touch()
    assert [file.name for file in folder.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [folder]
