"""Files that hold no JSON, or other JSON than is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.utils.json_files import JsonFileError, object_lines, read_json, read_object
from reverse_codi.utils.text_files import TextError


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", r"is no JSON \(Expecting value"),
        (b"{", r"is no JSON \(Expecting property name"),
        (b"[" * 100_000, r"is no JSON \(it is nested too deep\)"),
        (b"9" * 5_000, r"is no JSON \(Exceeds the limit"),
        (b"[1]", "holds a list, not an object of keys and values"),
        (b"null", "holds a NoneType, not an object"),
    ],
)
def test_what_is_no_object_is_named(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(data)
    with pytest.raises(JsonFileError, match=rf"a\.json {said}"):
        read_object(file)


def test_json_is_read_in_every_encoding_that_texts_have(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "a.json").write_bytes('{"a": ["é", 1.5, null]}'.encode(encoding))
        assert read_json(tmp_path / "a.json") == {"a": ["é", 1.5, None]}
    (tmp_path / "a.json").write_bytes(b'"\xff"')
    with pytest.raises(TextError, match=r"a\.json:1: byte 0xff"):
        read_json(tmp_path / "a.json")


def test_a_line_that_is_still_written_is_left_out_and_a_torn_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert list(object_lines(file)) == [{"step": 1}, {"step": 2}]
    file.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(JsonFileError, match=r"a\.jsonl:2 is no JSON"):
        list(object_lines(file))
    file.write_text("[]\n")
    with pytest.raises(JsonFileError, match=r"a\.jsonl:1 holds a list"):
        list(object_lines(file))
