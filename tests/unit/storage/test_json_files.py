"""Files that hold no JSON, or other JSON than is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.storage.files import DamagedError
from reverse_codi.storage.json_files import read_json, read_object


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", r"is cut or damaged, it is no JSON \(Expecting value"),
        (b"{", r"is cut or damaged, it is no JSON \(Expecting property name"),
        (b"[" * 100_000, r"is cut or damaged, it is no JSON \(it is nested too deep\)"),
        (b"9" * 5_000, r"is cut or damaged, it is no JSON \(Exceeds the limit"),
        (b"[1]", "is damaged: it holds a list, not an object"),
        (b"null", "is damaged: it holds a NoneType, not an object"),
    ],
)
def test_what_is_no_object_is_named(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(data)
    with pytest.raises(DamagedError, match=rf"a\.json {said}.*; make it anew"):
        read_object(file, "make it anew")


def test_json_is_read_in_every_encoding_that_texts_have(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "a.json").write_bytes('{"a": ["é", 1.5, null]}'.encode(encoding))
        assert read_json(tmp_path / "a.json") == {"a": ["é", 1.5, None]}
    (tmp_path / "a.json").write_bytes(b'"\xff"')
    with pytest.raises(DamagedError, match=r"a\.json is cut or damaged.*a\.json:1: byte 0xff"):
        read_json(tmp_path / "a.json")
