from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from reverse_codi.storage.files import DamagedError
from reverse_codi.storage.manifest import MANIFEST, check_files, problems, read_manifest, write_manifest

FIX = "train it anew"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ref").mkdir()
    (tmp_path / "a.bin").write_bytes(b"abc")
    (tmp_path / "ref/b.bin").write_bytes(b"12345")
    (tmp_path / "README.md").write_text("a card, which people may edit")
    write_manifest(tmp_path)
    return tmp_path


def test_it_lists_every_file_but_cards_with_the_hashes_of_sha256sum(folder: Path) -> None:
    listed = read_manifest(folder).files
    assert sorted(listed) == ["a.bin", "ref/b.bin"]
    assert listed["ref/b.bin"].bytes == 5
    said = subprocess.run(["sha256sum", str(folder / "a.bin")], capture_output=True, text=True, check=True)
    assert listed["a.bin"].sha256 == said.stdout.split()[0]
    assert problems(folder) == []
    assert check_files(folder, ("a.bin", "not listed"), FIX)


def test_a_flipped_byte_a_cut_and_a_missing_file_are_named(folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"abd")
    with pytest.raises(DamagedError, match=rf"^{folder}/a.bin was changed or damaged .*\. Train it anew$"):
        check_files(folder, ("a.bin",), FIX)
    check_files(folder, ("ref/b.bin",), FIX)
    (folder / "a.bin").write_bytes(b"ab")
    (folder / "ref/b.bin").unlink()
    assert problems(folder) == [
        f"{folder / 'a.bin'} has 2 bytes, 3 were written",
        f"{folder / 'ref/b.bin'} is missing",
    ]


def test_a_folder_without_one_is_of_an_earlier_version(tmp_path: Path) -> None:
    assert not check_files(tmp_path, ("a.bin",), FIX)


def test_files_are_added_and_what_is_listed_of_others_stays(folder: Path) -> None:
    (folder / "a.bin").write_bytes(b"new")
    (folder / "c.bin").write_bytes(b"c")
    write_manifest(folder, ("a.bin", "c.bin"))
    assert sorted(read_manifest(folder).files) == ["a.bin", "c.bin", "ref/b.bin"]
    assert problems(folder) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"schema_version": 2, "files": {}}',
        '{"schema_version": 1, "files": {"a.bin": {"bytes": 3}}}',
        json.dumps({"files": {"../a.bin": {"bytes": 1, "sha256": "x"}}}),
        json.dumps({"files": {"/etc/passwd": {"bytes": 1, "sha256": "x"}}}),
    ],
)
def test_a_damaged_manifest_is_named(folder: Path, content: str) -> None:
    (folder / MANIFEST).write_text(content)
    with pytest.raises(DamagedError, match=rf"^{folder / MANIFEST} is cut or damaged .*restore it"):
        check_files(folder, ("a.bin",), FIX)
