"""Users' text files: encodings, byte order marks, line ends."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from reverse_codi.errors import RecipeError
from reverse_codi.storage.text_files import TextError, decoded, lines_of, read_lines, read_text
from reverse_codi.utils.config import read_yaml

TEXT = "9 cups\r\n\r\nnine \u2028 tasses, caf\u00e9\x85\x0bx\rend"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_and_line_ends_are_no_text(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(TEXT.encode(encoding))
    assert list(read_lines(path)) == [(1, "9 cups"), (2, ""), (3, TEXT.split("\n")[2])]
    assert read_text(path) == TEXT


def test_standard_input_is_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\ufeffa\r\nb".encode())))
    assert list(read_lines("-")) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"a\nb\xe9c", r"f:2: byte 0xe9 at column 2 is no UTF-8; save the file as UTF-8, or as UTF-16"),
        ("ab\nc".encode("utf-16-le"), r"f:1: byte 0x00 at column 2 is no text"),  # no mark
        ("a\nbc".encode("utf-16") + b"d", r"f:2: byte 0x64 at column 3 is no UTF-16"),
        ("a".encode("utf-32"), r"f:1: the file is UTF-32"),
    ],
)
def test_what_is_no_text_is_named_with_its_byte(data: bytes, named: str) -> None:
    with pytest.raises(TextError, match=named):
        decoded(data, "f")
    with pytest.raises(TextError, match=named):
        list(lines_of(io.BytesIO(data), "f"))


def test_a_recipe_is_read_by_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes("log:\r\n  project: caf\u00e9\r\n".encode("utf-16"))
    assert read_yaml(path) == {"log": {"project": "caf\u00e9"}}
    path.write_bytes("log:\n  project: caf\u00e9\n".encode("latin-1"))
    with pytest.raises(TextError, match=r"r\.yaml:2: byte 0xe9 at column 15 is no UTF-8"):
        read_yaml(path)
    with pytest.raises(RecipeError, match="no recipe"):
        read_yaml(tmp_path / "none.yaml")
