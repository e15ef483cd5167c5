from __future__ import annotations

from pathlib import Path

import pytest

from reverse_codi.storage.files import DamagedError
from reverse_codi.storage.json_lines import JsonLog, json_lines


def test_what_is_written_is_read_and_what_a_kill_cut_is_not(tmp_path: Path) -> None:
    file = tmp_path / "deep/metrics.jsonl"
    assert list(json_lines(file)) == []
    JsonLog(file).write({"step": 1}, {"step": 2, "x": float("nan")})
    with file.open("a") as end:
        end.write('{"step": 3, "lo')
    assert list(json_lines(file)) == [{"step": 1}, {"step": 2, "x": None}]
    JsonLog(file).write({"step": 3})
    assert [line["step"] for line in json_lines(file)] == [1, 2, 3]


@pytest.mark.parametrize("left", ["", '{"step', "\n"])
def test_a_file_whose_only_line_is_cut_is_gone_on_with(tmp_path: Path, left: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(left)
    JsonLog(file)
    assert file.read_text() == ("\n" if left == "\n" else "")


@pytest.mark.parametrize("line", [b'{"step": 2, "lo', b"[2]", b"", b"\xff\xfe", b"[" * 100_000])
def test_a_line_in_the_middle_that_is_no_object_is_named(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(DamagedError, match=rf"^{file}:2: this line is no JSON object .*restore .*or remove"):
        list(json_lines(file))
